from functools import partial

import numpy as np
import pytest

from models.errors import BadRequest, Cancelled, NoFaceFound, WeightsMissing
from models.flux import Flux
from models.identity.clip import clip_input
from models.runner import Call
from models.tiny.faces import build_clip, build_eva, build_pulid, build_xlabs
from models.weights import Loading
from tests.models.identity import pictures
from tests.models.identity.pictures import distance, values
from tests.models.identity.seeded_reader import SeededReader, picture

METHODS = ("ip_adapter", "pulid")
plain, faced = partial(pictures.plain, guidance=3.5), partial(pictures.faced, guidance=3.5)


@pytest.fixture(scope="module")
def folders(dev_folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("faces")
    builders = {"ip_adapter": build_xlabs, "clip_vision": build_clip, "pulid": build_pulid, "eva_clip": build_eva}
    for role, build in builders.items():
        build(root / role)
    return {"base": dev_folder} | {role: root / role for role in builders}


def load(folders, *roles, slots=None):
    return Flux(Loading({role: folders[role] for role in ("base", *roles)}), slots, reader=SeededReader())


@pytest.fixture(scope="module")
def full(folders):
    return load(folders, "ip_adapter", "clip_vision", "pulid", "eva_clip")


def test_with_everything_loaded_a_plain_task_runs_as_on_the_plain_model(full, dev):
    import torch

    assert torch.equal(values(full, plain()), values(dev, plain()))
    assert torch.equal(values(full, plain(true_cfg=2.0)), values(dev, plain(true_cfg=2.0)))


@pytest.mark.parametrize("method", METHODS)
def test_a_face_changes_the_picture_and_so_does_another_face(full, method):
    assert distance(values(full, faced(method)), values(full, plain())) > 0.01
    assert distance(values(full, faced(method, person=1)), values(full, faced(method, person=2))) > 0.01


@pytest.mark.parametrize("method", METHODS)
def test_strength_zero_is_the_plain_model(full, method):
    import torch

    assert torch.equal(values(full, faced(method, strength=0.0)), values(full, plain()))


@pytest.mark.parametrize("true_cfg", [1.0, 2.0])
@pytest.mark.parametrize(("method", "roles"), [("ip_adapter", ("ip_adapter", "clip_vision")), ("pulid", ("pulid", "eva_clip"))])
def test_each_method_runs_as_on_a_model_of_its_own(full, folders, method, roles, true_cfg):
    task = faced(method, true_cfg=true_cfg)
    assert distance(values(full, task), values(load(folders, *roles), task)) < 1e-6


@pytest.mark.parametrize("true_cfg", [1.0, 2.0])
def test_the_ip_adapter_is_that_of_diffusers(full, folders, true_cfg):
    import torch
    from diffusers import FluxPipeline

    pipe = FluxPipeline.from_pretrained(folders["base"])
    pipe.load_ip_adapter(
        folders["ip_adapter"],
        weight_name="ip_adapter.safetensors",
        image_encoder_pretrained_model_name_or_path=str(folders["clip_vision"]),
        image_encoder_dtype=torch.float32,
    )
    pipe.set_ip_adapter_scale(0.7)
    side = pipe.image_encoder.config.image_size
    head, black = (torch.from_numpy(clip_input(p, side))[None] for p in (picture(1)[:64, :64], np.zeros((64, 64, 3), np.uint8)))
    wanted = pipe(
        "a red fox",
        negative_prompt="",
        true_cfg_scale=true_cfg,
        width=64,
        height=48,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(1),
        ip_adapter_image=head,
        negative_ip_adapter_image=black,
        output_type="pt",
    ).images
    assert distance(values(full, faced("ip_adapter", strength=0.7, true_cfg=true_cfg)), wanted) < 1e-5


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("true_cfg", [1.0, 2.0])
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_never_mixes_faces_or_strengths(full, method, true_cfg, size):
    tasks = [faced(method, person, seed=person, strength=0.5 + person / 4, true_cfg=true_cfg) for person in range(size)]
    together = values(full, *tasks)
    for index, task in enumerate(tasks):
        assert distance(together[index], values(full, task)[0]) < 1e-5
    swapped = values(full, *(faced(method, size - 1 - n, seed=n, strength=0.5 + n / 4, true_cfg=true_cfg) for n in range(size)))
    assert min(distance(a, b) for a, b in zip(together, swapped, strict=True)) > 0.01


def test_pulid_shows_the_face_only_from_start_to_end(full):
    import torch

    whole, late, early = (values(full, faced("pulid", steps=4, **part)) for part in ({}, {"start": 0.5}, {"end": 0.5}))
    assert distance(whole, late) > 1e-3
    assert distance(whole, early) > 1e-3
    assert torch.equal(values(full, faced("pulid", steps=4, start=0.9)), values(full, plain(steps=4)))  # sets in after the last step


def test_batches_share_method_start_and_end_but_not_faces(full):
    assert full.batch_key(faced("pulid", 1)) == full.batch_key(faced("pulid", 2, strength=0.3, seed=9))
    for other in (plain(), faced("ip_adapter"), faced("pulid", start=0.2), faced("pulid", end=0.8)):
        assert full.batch_key(faced("pulid")) != full.batch_key(other)


@pytest.mark.parametrize("method", METHODS)
def test_a_cancelled_run_leaves_no_face_behind(full, method):
    import torch

    before = values(full, plain())
    call = Call()
    call.on_progress = lambda _: call.cancel()
    with pytest.raises(Cancelled):
        full.pictures([faced(method)], [call])
    assert torch.equal(values(full, plain()), before)


def test_the_facts_say_where_the_face_came_from(full):
    call = Call()
    full.pictures([faced("pulid")], [call])
    assert call.facts == {"face_embedding": "seeded", "face_mask": "oval"}


def test_a_parsing_network_takes_the_place_of_the_oval(folders, tmp_path):
    from safetensors.torch import save_file

    from models.identity.parsing import FILE
    from tests.models.identity.test_parsing import draw, published

    save_file(draw(published()), tmp_path / FILE)
    runner = load(folders | {"face_parsing": tmp_path}, "pulid", "eva_clip", "face_parsing")
    call = Call()
    runner.pictures([faced("pulid")], [call])
    assert call.facts["face_mask"] == "parsed"


def test_what_cannot_be_done_is_refused_by_name(full, dev):
    with pytest.raises(BadRequest, match="SDXL"):
        values(full, faced("instantid"))
    with pytest.raises(WeightsMissing, match="pulid"):
        values(dev, faced("pulid"))
    with pytest.raises(BadRequest, match="strength must be 0 to 2, got 3"):
        values(full, faced("pulid", strength=3.0))
    with pytest.raises(BadRequest, match=r"start < end <= 1, got 0\.6 and 0\.5"):
        values(full, faced("pulid", start=0.6, end=0.5))


def test_one_bad_face_does_not_spoil_its_batch(full):
    class Blind(SeededReader):
        def read(self, image):
            if not image.any():
                raise NoFaceFound("no face")
            return super().read(image)

    reader, full.faces.reader = full.faces.reader, Blind()
    try:
        tasks = [
            faced("pulid", 1),
            faced("pulid", face=np.zeros((64, 64, 3), np.uint8)),
            faced("pulid", strength=9.0),
            faced("pulid", 4, seed=4),
        ]
        good, blank, wrong, last = full.run_batch(tasks, [Call() for _ in tasks])
        (alone,) = full.run_batch(tasks[3:], [Call()])
    finally:
        full.faces.reader = reader
    assert isinstance(blank, NoFaceFound)
    assert isinstance(wrong, BadRequest)
    assert good.pixels.shape == (1, 48, 64, 3)
    assert np.abs(last.pixels.astype(int) - alone.pixels).max() <= 1


def test_a_picture_without_a_face_is_said_so(folders):
    runner = Flux(Loading({role: folders[role] for role in ("base", "pulid", "eva_clip")}))
    with pytest.raises(NoFaceFound, match="reference picture"):
        values(runner, faced("pulid", face=np.full((200, 200, 3), 90, np.uint8)))


def test_a_real_face_goes_all_the_way(folders):
    from skimage.data import astronaut

    runner = Flux(Loading(folders))
    call = Call()
    for method in METHODS:
        list(runner.run(faced(method, face=astronaut()), call))
    assert call.facts["face_embedding"] == "embedded-projection"


class HotswapSlot:
    """One slot of diffusers' own hotswap, opened with zeros; it wears what was hung in the wardrobe."""

    def __init__(self, wardrobe):
        self.wardrobe = wardrobe

    def open(self, pipe):
        pipe.enable_lora_hotswap(target_rank=4)
        pipe.load_lora_weights(lora(pipe, 0.0), adapter_name="slot")

    def wear(self, pipe, loras):
        strength = self.wardrobe[loras[0].name] if loras else 0.0
        pipe.load_lora_weights(lora(pipe, strength), adapter_name="slot", hotswap=True)


def lora(pipe, strength):
    import torch

    seed = torch.Generator().manual_seed(0)
    state = {}
    for block in range(len(pipe.transformer.single_transformer_blocks)):
        for part in ("to_q", "to_v"):
            name = f"transformer.single_transformer_blocks.{block}.attn.{part}"
            state[f"{name}.lora_A.weight"] = torch.randn(4, 32, generator=seed)
            state[f"{name}.lora_B.weight"] = torch.randn(32, 4, generator=seed) * strength
    return state


def test_lora_slot_adapter_and_hooks_live_on_one_model(full, dev, folders):
    import torch

    from models.task import LoraUse

    slots = HotswapSlot({"mine": 0.2})
    runner = load(folders, "ip_adapter", "clip_vision", "pulid", "eva_clip", slots=slots)
    lora_alone = load(folders, slots=slots)
    worn = (LoraUse("mine"),)
    assert distance(values(runner, plain(loras=worn)), values(lora_alone, plain(loras=worn))) < 1e-5
    assert distance(values(runner, plain(loras=worn)), values(dev, plain())) > 0.01
    for method in METHODS:
        assert distance(values(runner, faced(method)), values(full, faced(method))) < 1e-5
        assert distance(values(runner, faced(method, loras=worn)), values(runner, faced(method))) > 0.01
    assert torch.equal(values(runner, plain()), values(dev, plain()))


@pytest.mark.slow
def test_compiled_blocks_show_the_same_faces_and_strengths_compile_nothing_anew(full, folders):
    """Traced whole, run by torch's own kernels: what matters is what the compiler sees, not what it makes of it."""
    from torch._dynamo.utils import counters

    runner = load(folders, "ip_adapter", "clip_vision", "pulid", "eva_clip")
    runner.pipe.transformer.compile_repeated_blocks(fullgraph=True, backend="eager")
    counters.clear()
    for task in (plain(), *(faced(method, strength=0.1) for method in METHODS)):
        assert distance(values(runner, task), values(full, task)) < 1e-5
    graphs = counters["stats"]["unique_graphs"]
    for method in METHODS:
        for n in range(2, 10):
            task = faced(method, strength=n / 10, steps=1)
            assert distance(values(runner, task), values(full, task)) < 1e-5
    assert counters["stats"]["unique_graphs"] == graphs
