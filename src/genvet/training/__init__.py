"""Recipes that train, one file each."""
