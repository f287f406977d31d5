"""Recipes, cases and small models that tests, golden files and comparisons share."""
