"""Classifier-free guidance as the Qwen-Image pipelines take it."""

from typing import Any

from models.errors import BadRequest
from models.task import TextToImage

PROMPT_TOKENS = 1024


def guided(tasks: list[TextToImage]) -> dict[str, Any]:
    """Arguments for tasks of one guidance; above 1 each step runs the model a second time, with the negative prompt or a blank one."""
    scale = tasks[0].guidance
    if scale < 0:
        raise BadRequest(f"guidance must be at least 0 (up to 1 is off), got {scale}")
    if scale <= 1:
        return {"true_cfg_scale": 1.0}
    return {"true_cfg_scale": scale, "negative_prompt": [task.negative_prompt or " " for task in tasks]}
