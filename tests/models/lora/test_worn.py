"""LoRAs worn on the real pipelines: what the pixels say."""

from pathlib import Path

import numpy as np
import pytest

from models.errors import LoraRejected
from models.lora.files import LoraFiles
from models.lora.layer import Branch
from models.lora.stack import LoraStack
from models.runner import Call
from models.task import LoraUse, TextToImage, TextToVideo
from models.tiny import TinyStore
from models.weights import Checkpoint, Loading
from tests.models.lora.making import attention, peft, registered, save


class Place:
    """A runner with a stack, and LoRAs A and B for it."""

    def __init__(self, runner, stack: LoraStack, files: LoraFiles, folder: Path) -> None:
        self.runner, self.stack, self.files, self.folder = runner, stack, files, folder
        self.a = self.lora("a", seed=1)
        self.b = self.lora("b", seed=2, rank=6)

    def lora(self, name: str, strength: float = 1.0, layers=None, **how) -> LoraUse:
        tensors = peft(attention(self.stack.base.layers) if layers is None else layers, **how)
        return registered(self.files, save(tensors, self.folder / f"{name}.safetensors"), name, strength)

    def picture(self, *loras: LoraUse) -> np.ndarray:
        if type(self.runner).__name__ == "Flux":
            task = TextToImage(seed=1, prompt="a red fox", width=64, height=48, steps=2, guidance=3.5, loras=loras)
        else:
            task = TextToVideo(seed=1, prompt="a fox", width=64, height=48, num_frames=5, fps=8, steps=2, guidance=1.0, loras=loras)
        return np.concatenate([frames.pixels for frames in self.runner.run(task, Call())])


@pytest.fixture(scope="module", params=["flux", "wan"])
def place(request, tmp_path_factory) -> Place:
    from models.flux import Flux
    from models.wan import WanTextToVideo

    folder = tmp_path_factory.mktemp(request.param)
    kind, repo = {
        "flux": (Flux, "black-forest-labs/FLUX.1-dev"),
        "wan": (WanTextToVideo, "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"),
    }[request.param]
    weights = TinyStore(tmp_path_factory.getbasetemp() / "tiny").folder(Checkpoint(repo=repo, revision=None, licence="unknown"))
    files = LoraFiles(str(folder / "loras"), folder / "cache", 10**9)
    stack = LoraStack(files, {}, slots=2, rank=16, ram_bytes=10**8)
    plain = kind(Loading({"base": weights}))
    place = Place(kind(Loading({"base": weights}), stack), stack, files, folder)
    place.plain = Place.picture(type("Plain", (), {"runner": plain})())
    return place


def test_an_open_slot_gives_the_plain_models_pixels_bit_by_bit(place):
    assert np.array_equal(place.picture(), place.plain)


def test_a_to_b_to_a_gives_a_again_and_none_gives_the_base(place):
    first = place.picture(place.a)
    second = place.picture(place.b)
    assert not np.array_equal(first, place.plain)
    assert not np.array_equal(first, second)
    assert np.array_equal(place.picture(place.a), first)
    assert np.array_equal(place.picture(), place.plain)
    assert np.array_equal(place.picture(place.b), second)


def test_a_worn_lora_equals_the_one_that_diffusers_loads(place, tmp_path):
    if type(place.runner).__name__ != "Flux":
        pytest.skip("one family is enough")
    import torch
    from diffusers import FluxPipeline

    pipe = FluxPipeline.from_pretrained(place.runner.pipe.config._name_or_path)
    pipe.load_lora_weights(str(place.folder), weight_name="b.safetensors", adapter_name="x")
    pipe.set_adapters(["x"], [0.7])
    arguments = {"width": 64, "height": 48, "num_inference_steps": 2, "guidance_scale": 3.5, "max_sequence_length": 512}
    theirs = pipe("a red fox", generator=torch.Generator().manual_seed(1), output_type="np", **arguments).images
    ours = place.picture(LoraUse("b", 0.7, place.b.sha256))
    assert np.abs(ours.astype(float) - np.clip(theirs, 0, 1) * 255).max() <= 1.0


def test_strength_scales_and_zero_is_none(place):
    half, full = place.picture(LoraUse("a", 0.5, place.a.sha256)), place.picture(place.a)
    assert not np.array_equal(half, full)
    assert np.array_equal(place.picture(LoraUse("a", 0.0, place.a.sha256)), place.plain)


def test_several_loras_stack_and_their_order_does_not_matter(place):
    both = place.picture(place.a, place.b).astype(int)
    assert not np.array_equal(both, place.picture(place.a))
    assert np.abs(both - place.picture(place.b, place.a)).max() <= 1  # sums in another order
    twice = place.picture(LoraUse("a", 0.5, place.a.sha256), LoraUse("a", 0.5, place.a.sha256)).astype(int)
    assert np.abs(twice - place.picture(place.a)).max() <= 1


def test_a_failed_swap_leaves_the_one_before_whole(place):
    worn = place.picture(place.a)
    layer = next(iter(attention(place.stack.base.layers)))
    wrong = place.lora("wrong", layers={layer: (8, 8)})
    unknown = place.lora("unknown", layers={"transformer.blocks.99.attn9.to_q": (8, 8)})
    slot = place.stack._slots[place.runner.pipe]
    for bad in ((wrong,), (unknown,), (place.a, place.a, place.a, place.b), (LoraUse("gone", 1.0, "0" * 64),)):
        with pytest.raises(Exception, match=r"trained for|no linear layer|together at most 16|not found"):
            place.picture(*bad)
        assert slot.worn == ((place.a.sha256, 1.0),)
        assert np.array_equal(place.picture(place.a), worn)
    assert wrong.sha256 not in place.stack.tiers.kept()
    assert np.array_equal(place.picture(), place.plain)


def test_a_copy_that_breaks_halfway_is_made_good_by_the_next(place, monkeypatch):
    expected = place.picture(place.b)
    place.picture(place.a)
    fill, count = Branch.fill, 0

    def break_down(*arguments):
        nonlocal count
        count += 1
        if count == 3:
            raise RuntimeError("the card fell off the bus")
        fill(*arguments)

    monkeypatch.setattr(Branch, "fill", break_down)
    with pytest.raises(RuntimeError):
        place.picture(place.b)
    monkeypatch.undo()
    assert np.array_equal(place.picture(), place.plain)
    assert np.array_equal(place.picture(place.b), expected)


def test_ranks_that_do_not_fit_together_are_refused_with_the_numbers(place):
    with pytest.raises(LoraRejected, match=r"6 \+ 6 \+ 6"):
        place.picture(place.b, place.b, place.b)


def test_two_hundred_swaps_keep_no_memory(place):
    import gc

    import torch

    def tensors() -> int:
        gc.collect()
        return sum(item.numel() for item in gc.get_objects() if issubclass(type(item), torch.Tensor))

    place.stack.tiers._ram_bytes = 0  # what falls out of the slots is read from disk again
    uses = [place.lora(f"many-{number}", seed=number) for number in range(6)]
    wear = lambda number: place.stack.wear(place.runner.pipe, (uses[number % 6],))  # noqa: E731
    for number in range(12):
        wear(number)
    before = tensors()
    for number in range(200):
        wear(number)
    assert tensors() == before
    assert place.stack.tiers.found["disk"] > 200
    place.stack.wear(place.runner.pipe, ())


@pytest.mark.slow
def test_a_compiled_model_swaps_loras_and_strengths_without_new_graphs(tmp_path):
    import torch

    from models.flux import Flux

    weights = TinyStore(tmp_path / "tiny").folder(Checkpoint(repo="black-forest-labs/FLUX.1-dev", revision=None, licence="unknown"))
    files = LoraFiles(str(tmp_path / "loras"), tmp_path / "cache", 10**9)
    stack = LoraStack(files, {}, slots=2, rank=16)
    place = Place(Flux(Loading({"base": weights}), stack), stack, files, tmp_path)
    eager = [place.picture(), place.picture(place.a), place.picture(LoraUse("b", 0.3, place.b.sha256))]
    graphs: list[int] = []

    def count(graph, _inputs):
        graphs.append(1)
        return graph.forward

    for block in (*place.runner.pipe.transformer.transformer_blocks, *place.runner.pipe.transformer.single_transformer_blocks):
        block.compile(backend=count, fullgraph=True)
    place.picture()
    place.picture(place.a)
    seen = len(graphs)
    both = (place.a, LoraUse("b", 0.2, place.b.sha256))
    compiled = [place.picture(), place.picture(place.a), place.picture(LoraUse("b", 0.3, place.b.sha256))]
    place.picture(*both)
    assert len(graphs) == seen, "one graph with LoRAs and one without, whatever they are"
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(eager, compiled, strict=True))
    torch._dynamo.reset()
