"""Repairs: weights that hold less of what was planted."""
