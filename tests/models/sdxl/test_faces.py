from functools import partial

import numpy as np
import pytest

from models.errors import BadRequest, Cancelled, NoFaceFound, WeightsMissing
from models.runner import Call
from models.sdxl import Sdxl
from models.tiny.faces import build_instantid
from models.weights import Loading
from tests.models.identity import pictures
from tests.models.identity.pictures import distance, values
from tests.models.identity.seeded_reader import SeededReader

# diffusers' schedulers turn tensors into arrays in a way that numpy 2 warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

plain, faced = partial(pictures.plain, guidance=5.0), partial(pictures.faced, "instantid", guidance=5.0)


@pytest.fixture(scope="module")
def with_face(folders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("instantid")
    build_instantid(folder)
    return folders | {"instantid": folder}


@pytest.fixture(scope="module")
def full(with_face):
    return Sdxl(Loading(with_face), spare_checkpoints=3, reader=SeededReader())


@pytest.mark.parametrize("changes", [{}, {"guidance": 0.0}, {"checkpoint": "turbo"}, {"checkpoint": "lightning", "steps": 4}])
def test_with_instantid_loaded_a_plain_task_runs_as_on_the_plain_model(full, sdxl, changes):
    import torch

    assert torch.equal(values(full, plain(**changes)), values(sdxl, plain(**changes)))


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_a_face_changes_the_picture_and_so_does_another_face(full, guidance):
    first = values(full, faced(guidance=guidance))
    assert distance(first, values(full, plain(guidance=guidance))) > 1e-3
    assert distance(first, values(full, faced(person=2, guidance=guidance))) > 1e-3


def test_without_both_strengths_the_plain_model_is_left(full):
    assert distance(values(full, faced(strength=0.0, controlnet_strength=0.0)), values(full, plain())) < 1e-5


def test_each_strength_and_the_share_of_steps_count(full):
    whole = values(full, faced())
    for changes in ({"strength": 0.2}, {"controlnet_strength": 0.2}, {"end": 0.4}, {"start": 0.4}):
        assert distance(values(full, faced(**changes)), whole) > 1e-3


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_instantid_is_its_parts_put_together_by_hand(full, with_face, guidance):
    """Core's ControlNet pipeline on one face, with the ControlNet told to read the resampler's tokens instead of the prompt."""
    import torch
    from diffusers import ControlNetModel, StableDiffusionXLControlNetPipeline

    from models.identity.keypoints import draw_keypoints, fit_keypoints

    task = faced(guidance=guidance)
    controlnet = ControlNetModel.from_pretrained(with_face["instantid"] / "ControlNetModel")
    pipe = StableDiffusionXLControlNetPipeline.from_pretrained(with_face["base"], controlnet=controlnet, add_watermarker=False)
    pipe.load_ip_adapter(with_face["instantid"], subfolder="", weight_name="ip-adapter.safetensors", image_encoder_folder=None)
    pipe.set_ip_adapter_scale(task.strength)
    face = SeededReader().read(task.face)
    embedding = torch.from_numpy(face.embedding).view(1, 1, 1, 512)
    rows = torch.cat([torch.zeros_like(embedding), embedding]) if guidance > 1 else embedding
    tokens = pipe.unet.encoder_hid_proj.image_projection_layers[0](rows[:, 0]).detach()

    def read_the_face(module, inputs, named):
        return inputs, named | {"encoder_hidden_states": tokens}

    controlnet.register_forward_pre_hook(read_the_face, with_kwargs=True)
    place = draw_keypoints(fit_keypoints(face.keypoints, face.box, (120, 128), (64, 48)), 64, 48)
    wanted = pipe(
        "a red fox",
        negative_prompt="",
        image=torch.from_numpy(place / np.float32(255)).permute(2, 0, 1)[None],
        ip_adapter_image_embeds=[rows],
        controlnet_conditioning_scale=task.controlnet_strength,
        num_inference_steps=3,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(1),
        output_type="pt",
    ).images
    assert distance(values(full, task), wanted) < 1e-5


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_a_batch_never_mixes_faces_or_strengths(full, guidance, size):
    def item(person, seed):
        return faced(person, seed=seed, guidance=guidance, prompt="fox " * (seed + 1), strength=0.5 + seed / 4)

    tasks = [item(n, n) for n in range(size)]
    together = values(full, *tasks)
    for index, task in enumerate(tasks):
        assert distance(together[index], values(full, task)[0]) < 1e-5
    swapped = values(full, *(item(size - 1 - n, n) for n in range(size)))
    assert min(distance(a, b) for a, b in zip(together, swapped, strict=True)) > 1e-3


def test_plain_batches_still_equal_their_single_runs(full):
    tasks = [plain(seed=seed, prompt="fox " * (seed + 1)) for seed in range(3)]
    together = values(full, *tasks)
    for index, task in enumerate(tasks):
        assert distance(together[index], values(full, task)[0]) < 1e-5


def test_checkpoints_share_one_adapter(full):
    base, other = full.checkpoints.get("base"), full.checkpoints.get("RealVisXL_V4.0")
    assert other.unet is not base.unet
    assert other.unet.encoder_hid_proj is base.unet.encoder_hid_proj
    assert distance(values(full, faced(checkpoint="RealVisXL_V4.0")), values(full, plain(checkpoint="RealVisXL_V4.0"))) > 0.01


def test_a_face_on_another_checkpoint_leaves_the_base_alone(full):
    import torch

    before = values(full, faced())
    values(full, faced(checkpoint="turbo", guidance=0.0, strength=0.1))
    assert torch.equal(values(full, faced()), before)


def test_batches_share_the_controlnets_settings_but_not_faces(full):
    assert full.batch_key(faced(1)) == full.batch_key(faced(2, seed=9, prompt="b", strength=0.1))
    for other in (plain(), faced(controlnet_strength=0.1), faced(start=0.1), faced(end=0.9)):
        assert full.batch_key(faced()) != full.batch_key(other)


def test_a_cancelled_run_leaves_no_face_behind(full):
    import torch

    before = values(full, plain())
    call = Call()
    call.on_progress = lambda _: call.cancel()
    with pytest.raises(Cancelled):
        full.pictures([faced()], [call])
    assert torch.equal(values(full, plain()), before)


def test_what_cannot_be_done_is_refused_by_name(full, sdxl):
    with pytest.raises(BadRequest, match="pulid belongs to Flux"):
        values(full, pictures.faced("pulid", guidance=5.0))
    with pytest.raises(WeightsMissing, match="instantid"):
        values(sdxl, faced())
    with pytest.raises(BadRequest, match="controlnet_strength must be 0 to 2"):
        values(full, faced(controlnet_strength=-1.0))


def test_one_bad_face_does_not_spoil_its_batch(full):
    class Blind(SeededReader):
        def read(self, image):
            if not image.any():
                raise NoFaceFound("no face")
            return super().read(image)

    reader, full.faces.reader = full.faces.reader, Blind()
    try:
        tasks = [faced(1), faced(face=np.zeros((64, 64, 3), np.uint8)), faced(strength=9.0), faced(4, seed=4)]
        good, blank, wrong, last = full.run_batch(tasks, [Call() for _ in tasks])
        (alone,) = full.run_batch(tasks[3:], [Call()])
    finally:
        full.faces.reader = reader
    assert isinstance(blank, NoFaceFound)
    assert isinstance(wrong, BadRequest)
    assert good.pixels.shape == (1, 48, 64, 3)
    assert np.abs(last.pixels.astype(int) - alone.pixels).max() <= 1


def test_the_published_pickle_is_not_opened(folders, tmp_path):
    build_instantid(tmp_path)
    (tmp_path / "ip-adapter.safetensors").rename(tmp_path / "ip-adapter.bin")
    with pytest.raises(WeightsMissing, match=r"ip-adapter\.bin is a pickle.*convert_weights"):
        Sdxl(Loading(folders | {"instantid": tmp_path}))


def test_a_real_face_goes_all_the_way_and_a_blank_picture_does_not(with_face):
    from skimage.data import astronaut

    runner = Sdxl(Loading(with_face))
    call = Call()
    list(runner.run(faced(face=astronaut()), call))
    assert call.facts["face_embedding"] == "embedded-projection"
    with pytest.raises(NoFaceFound, match="reference picture"):
        values(runner, faced(face=np.full((200, 200, 3), 90, np.uint8)))


@pytest.mark.slow
def test_compiled_blocks_show_the_same_faces_and_strengths_compile_nothing_anew(full, with_face):
    """Traced whole, run by torch's own kernels: what matters is what the compiler sees, not what it makes of it."""
    from torch._dynamo.utils import counters

    runner = Sdxl(Loading(with_face), reader=SeededReader())
    runner.checkpoints.get(None).unet.compile_repeated_blocks(fullgraph=True, backend="eager")
    counters.clear()
    for task in (plain(), faced(strength=0.1)):
        assert distance(values(runner, task), values(full, task)) < 1e-5
    graphs = counters["stats"]["unique_graphs"]
    for n in range(2, 10):
        assert distance(values(runner, faced(strength=n / 10)), values(full, faced(strength=n / 10))) < 1e-5
    assert counters["stats"]["unique_graphs"] == graphs
