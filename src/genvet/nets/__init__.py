"""Architectures, written from the papers and the public tensor names, in plain operations."""
