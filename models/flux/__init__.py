"""FLUX.1 schnell and dev."""

from models.flux.runner import Flux

__all__ = ["Flux"]
