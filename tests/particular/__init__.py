"""Breaks that only one family can have; each module gives ``breaks()``, an iterator of them."""
