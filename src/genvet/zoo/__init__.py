"""Populations of clean and attacked generators: built from recipes, and scored by every inspection."""
