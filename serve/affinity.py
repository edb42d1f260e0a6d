"""What makes one replica better than another for a task: the LoRAs and the checkpoint it would not have to load."""

from collections.abc import Iterable

from deployments.spec.deployment import Deployment
from models.lora.holding import loras_of
from models.lora.stack import key_of
from models.runner import CheckpointRunner, Runner
from models.task import Task, TextToImage

_DIGITS = 16  # of a hash: enough to tell LoRAs apart, and short in logs


def affinity_of(task: Task, declared: Deployment) -> str | None:
    """The routing key of a task: the same for tasks that wear the same; None for the plain model, which every replica has."""
    parts = {part_of(key_of(use)) for use in loras_of(task)} if declared.lora_slots else set[str]()
    if declared.spare_checkpoints and isinstance(task, TextToImage) and task.checkpoint is not None:
        parts.add(checkpoint_part(task.checkpoint))
    return "+".join(sorted(parts)) or None


def held_parts(runner: Runner, loras: Iterable[str]) -> list[str]:
    """The parts of routing keys that a replica holds: these LoRAs, by their keys, and its runner's checkpoints."""
    checkpoints = runner.resident() if isinstance(runner, CheckpointRunner) else ()
    return [part_of(key) for key in loras] + [checkpoint_part(name) for name in checkpoints]


def part_of(key: str) -> str:
    """A LoRA's part of a routing key."""
    return key if key.startswith("house:") else key[:_DIGITS]


def checkpoint_part(name: str) -> str:
    """A checkpoint's part of a routing key."""
    return f"checkpoint:{name}"


def covers(held: Iterable[str], affinity: str) -> bool:
    """Whether a replica that holds these parts has all that `affinity` asks for."""
    return set(affinity.split("+")) <= set(held)
