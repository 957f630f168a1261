"""Inspections of weights and structure."""
