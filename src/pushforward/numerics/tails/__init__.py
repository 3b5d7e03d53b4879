"""Distributions far out: how rare, how heavy, and how to tell."""
