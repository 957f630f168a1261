"""Attacks that steal a generator: a copy from its answers, and one that comes nearer to the real data than they do."""
