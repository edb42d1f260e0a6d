"""Text to video: Wan 2.1 T2V."""

from models.task import TextToVideo
from models.wan.runner import WanRunner


class WanTextToVideo(WanRunner):
    """A clip from a prompt."""

    pipeline = "WanPipeline"
    answers = TextToVideo
