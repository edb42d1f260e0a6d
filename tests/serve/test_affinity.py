"""Routing keys: what a task asks for and what replicas say that they hold are the same words."""

from collections.abc import Iterator

import pytest

from deployments import deployments
from models.lora.stack import key_of
from models.runner import Call, Frames
from models.task import LoraUse, Task, TextToImage
from serve.affinity import affinity_of, covers, held_parts

ROUTED = [declared for declared in deployments().values() if declared.spare_checkpoints]
WORN = LoraUse("anna", 1.0, "a" * 64)


class Bare:
    """A runner without checkpoints."""

    def run(self, task: Task, call: Call) -> Iterator[Frames]:
        raise NotImplementedError

    def close(self) -> None: ...


class Holding(Bare):
    """A runner that has these checkpoints loaded."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def resident(self) -> tuple[str, ...]:
        return self.names


def task(checkpoint: str | None = None, *loras: LoraUse) -> TextToImage:
    return TextToImage(seed=1, prompt="a fox", width=64, height=64, steps=1, guidance=1.0, checkpoint=checkpoint, loras=loras)


@pytest.mark.parametrize("declared", ROUTED, ids=lambda declared: declared.name)
def test_a_replica_that_has_a_checkpoint_loaded_says_so_in_the_words_of_the_tasks_that_want_it(declared):
    wanted = affinity_of(task("turbo"), declared)
    assert wanted is not None
    assert covers(held_parts(Holding("lightning", "turbo"), ()), wanted)
    assert not covers(held_parts(Holding("lightning"), ()), wanted)
    assert not covers(held_parts(Holding(), ()), wanted)
    assert affinity_of(task(), declared) is None, "the base is everywhere"


def test_a_replica_that_has_a_lora_says_so_in_the_words_of_the_tasks_that_wear_it():
    declared = next(d for d in deployments().values() if d.lora_slots)
    wanted = affinity_of(task(None, WORN), declared)
    assert wanted is not None
    assert covers(held_parts(Bare(), [key_of(WORN)]), wanted)
    assert not covers(held_parts(Bare(), []), wanted)


def test_every_deployment_with_spare_checkpoints_says_which_are_loaded():
    assert ROUTED
    for declared in ROUTED:
        assert callable(getattr(declared.runner, "resident", None)), declared.name
