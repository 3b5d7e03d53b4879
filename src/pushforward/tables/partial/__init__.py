"""Rows of which some columns are known: densities of those, and draws of the others."""
