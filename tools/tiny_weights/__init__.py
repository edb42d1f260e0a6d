"""Trains the small demonstration weights of the laptop profile; `docs/tiny-weights.md` tells why they are built this way."""
