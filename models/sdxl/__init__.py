"""Stable Diffusion XL: base, turbo, lightning and community checkpoints."""

from models.sdxl.runner import Sdxl

__all__ = ["Sdxl"]
