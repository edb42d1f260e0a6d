"""Wan: text to video, image to video, and reference to video."""

from models.wan.image_to_video import WanImageToVideo
from models.wan.reference_to_video import WanReferenceToVideo
from models.wan.text_to_video import WanTextToVideo

__all__ = ["WanImageToVideo", "WanReferenceToVideo", "WanTextToVideo"]
