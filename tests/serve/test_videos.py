"""Every video endpoint, from its body to its file, on toy models in this process."""

import io
import json

import numpy as np
import pytest
from skimage.data import astronaut, coffee

from deployments import endpoints
from models.errors import PoorQuality
from models.host import Result
from models.media import decode, probe
from models.media.limits import Limits
from models.runner import Progress
from serve.bodies import parse
from tests.conftest import png_url
from tests.serve.inprocess import InProcess

FACE, OTHER = png_url(np.ascontiguousarray(astronaut()[:256, 96:352])), png_url(np.ascontiguousarray(coffee()[:256, :256]))
SMALL = {"prompt": "a walk", "width": 128, "height": 128, "steps": 2, "seed": 7}
BODIES = {
    "/wan2.6": SMALL,
    "/wan2.6-r2v": SMALL | {"reference_images": [FACE]},
    "/wan2.6-i2v": SMALL | {"reference_image": FACE},
    "/wan2.6-i2v-faceswap": SMALL | {"reference_image": FACE, "face_image": FACE},
    "/wan22-i2v": SMALL | {"source_image": FACE},
    "/wan22-i2v-faceswap": SMALL | {"source_image": FACE, "face_image": FACE},
}


@pytest.fixture(scope="module")
def backend(tiny_root) -> InProcess:
    return InProcess(tiny_root)


async def call(backend, path, **changes) -> tuple[Result, list[Progress]]:
    endpoint = endpoints()[path]
    request = parse(endpoint.request, json.dumps(BODIES[path] | {"length": 9} | changes).encode())
    events = [event async for event in backend.run(endpoint.plan(request, request.seed), deadline=None)]
    assert isinstance(events[-1], Result)
    return events[-1], [event for event in events if isinstance(event, Progress)]


def frames(result: Result) -> np.ndarray:
    return np.concatenate([part.pixels for part in decode(result.media)])


@pytest.mark.parametrize("path", BODIES)
async def test_it_answers_with_a_clip_and_says_how_good_it_is(backend, path):
    result, _ = await call(backend, path, output_format="mp4")
    info = probe(result.media, "reply", Limits())
    assert (info.width, info.height, info.frames) == (128, 128, 9)
    assert result.stages[0].facts["quality"]


@pytest.mark.parametrize("path", ["/wan2.6", "/wan2.6-i2v-faceswap"])
async def test_upscaled_frames_flow_on_through_one_more_model(backend, path):
    result, _ = await call(backend, path, output_format="mp4", upscale=256)
    info = probe(result.media, "reply", Limits())
    assert (info.width, info.height, info.frames) == (256, 256, 9)
    assert len(result.stages) == len(endpoints()[path].deployments) + 1
    assert all(stage.busy_s > 0 for stage in result.stages)


async def test_a_reference_changes_the_clip(backend):
    one, again, other = [(await call(backend, "/wan2.6-r2v", reference_images=[url]))[0].media for url in (FACE, FACE, OTHER)]
    assert one == again
    assert one != other


@pytest.mark.parametrize(("path", "field"), [("/wan2.6-i2v", "reference_image"), ("/wan22-i2v", "source_image")])
async def test_the_picture_changes_every_frame(backend, path, field):
    one, other = [frames((await call(backend, path, **{field: url}))[0]) for url in (FACE, OTHER)]
    assert (np.abs(one.astype(int) - other).mean(axis=(1, 2, 3)) > 1).all()


async def test_a_duration_through_the_chain_has_its_frames_and_seconds(backend):
    result, _ = await call(backend, "/wan2.6-i2v-faceswap", duration_s=2, fps=30)
    info = probe(result.media, "reply", Limits())
    assert (info.frames, info.fps) == (60, 30)
    assert result.stages[1].facts["frames"] == 60


async def test_a_preview_travels_through_the_chain(backend):
    from PIL import Image

    _, progress = await call(backend, "/wan2.6-i2v-faceswap", preview=True)
    (picture,) = [event.picture for event in progress if event.picture is not None]
    assert Image.open(io.BytesIO(picture)).size == (128, 128)


async def test_the_gate_refuses_when_asked(backend, monkeypatch):
    monkeypatch.setattr("models.clip.quality.FROZEN", 1000.0)
    with pytest.raises(PoorQuality, match="frozen"):
        await call(backend, "/wan2.6", quality_gate=True)
