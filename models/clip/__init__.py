"""Clips whatever model made them: references taken from them, longer ones, other frame rates, and what can be wrong with them."""
