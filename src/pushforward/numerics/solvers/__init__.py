"""Equations solved by steps: roots, fixed points, differential equations."""
