"""What every identity module asks of a task."""

from models.errors import BadRequest
from models.task import FaceToImage


def check_face(task: FaceToImage) -> None:
    """Raise BadRequest for strengths or shares of the steps that mean nothing."""
    for name, value in (("strength", task.strength), ("controlnet_strength", task.controlnet_strength)):
        if not 0 <= value <= 2:
            raise BadRequest(f"{name} must be 0 to 2, got {value}")
    if not 0 <= task.start < task.end <= 1:
        raise BadRequest(f"start and end are shares of the steps with 0 <= start < end <= 1, got {task.start} and {task.end}")
