"""Densities of rows that are blurred by normal noise, jointly and column by column."""

from pushforward.flows.blurred.columns import BlurredColumns
from pushforward.flows.blurred.rows import Blurred

__all__ = ["Blurred", "BlurredColumns"]
