"""Inspections of what the generator puts out."""
