"""Qwen-Image: text to picture (2512), and edits of pictures (Edit-2511)."""

from models.qwen_image.edit import QwenImageEdit
from models.qwen_image.text_to_image import QwenImage

__all__ = ["QwenImage", "QwenImageEdit"]
