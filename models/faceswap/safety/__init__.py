"""Who may be swapped onto what: blocked faces, registered personas, and gates on what a picture shows."""

from models.faceswap.safety.guard import Guard

__all__ = ["Guard"]
