"""Conditional densities of numbers: several flows of one number, averaged; and such in a chain."""
