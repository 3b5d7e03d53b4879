"""Densities of columns: side by side, and of several kinds one after the other."""
