import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from models.errors import BadRequest, Cancelled, NoFaceFound, WeightsMissing
from models.faceswap.swapper import FaceSwapper
from models.media import Encoding, encode
from models.runner import Call, FrameRunner, Frames
from models.task import SwapFaces, TextToImage
from models.weights import Loading


def join(frames):
    frames = list(frames)
    return np.concatenate([chunk.pixels for chunk in frames]), np.concatenate([chunk.times_s for chunk in frames])


@pytest.fixture
def task(source):
    return SwapFaces(source=source)


@pytest.fixture
def wall():
    return np.random.default_rng(0).integers(90, 140, (10, 120, 160, 3), np.uint8)


def test_swaps_every_frame_of_a_moving_face(swapper, task, moving, chunks):
    call = Call()
    pixels, times = join(swapper.transform(task, chunks(moving), call))
    assert pixels.shape == moving.shape
    np.testing.assert_array_equal(times, np.arange(24) / 16)
    assert all(np.abs(after.astype(int) - before).max() > 40 for before, after in zip(moving, pixels, strict=True))
    said = {"engine": "embedded", "frames": 24, "faces_swapped": 24, "restored": False}
    assert call.facts == said | {"nsfw_gate": "passed", "minor_gate": "not-installed"}
    assert set(call.seconds) == {"track", "swap"}
    assert isinstance(swapper, FrameRunner)


@pytest.mark.parametrize("size", [1, 5, 24])
def test_the_result_does_not_depend_on_the_chunks(swapper, task, moving, chunks, size):
    expected, _ = join(swapper.transform(task, chunks(moving, 8), Call()))
    pixels, times = join(swapper.transform(task, chunks(moving, size), Call()))
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(times, np.arange(24) / 16)


def test_holds_back_a_few_frames_only(swapper, task, moving, chunks):
    taken = given = 0

    def watched():
        nonlocal taken
        for chunk in chunks(np.concatenate([moving] * 4), 4):
            taken += len(chunk.pixels)
            yield chunk

    most = 0
    for chunk in swapper.transform(task, watched(), Call()):
        most = max(most, taken - given)
        given += len(chunk.pixels)
    assert given == 96
    assert most <= 4 * (swapper.engine.batch + 4) + 8


def test_frames_without_a_face_come_out_unchanged(swapper, task, wall, chunks):
    call = Call()
    pixels, _ = join(swapper.transform(task, chunks(wall), call))
    np.testing.assert_array_equal(pixels, wall)
    assert call.facts["faces_swapped"] == 0
    assert call.facts["frames"] == 10


def test_no_face_is_an_error_when_one_is_required(swapper, task, wall, chunks):
    with pytest.raises(NoFaceFound, match="require_face"):
        join(swapper.transform(replace(task, require_face=True), chunks(wall), Call()))


def test_a_source_without_a_face_is_an_error(swapper, wall, moving, chunks):
    with pytest.raises(NoFaceFound, match="source picture"):
        next(swapper.transform(SwapFaces(source=wall[0]), chunks(moving), Call()))


def test_frames_are_not_written_to(swapper, task, moving, chunks):
    frames = moving.copy()
    frames.setflags(write=False)
    join(swapper.transform(task, chunks(frames), Call()))
    np.testing.assert_array_equal(frames, moving)


def test_a_picture_is_a_clip_of_one_frame(swapper, task, astronaut):
    data = encode(iter([Frames(astronaut[None], np.zeros(1))]), Encoding(format="png"))
    call = Call()
    pixels, times = join(swapper.run(replace(task, target=data), call))
    assert pixels.shape == (1, *astronaut.shape)
    assert times.tolist() == [0]
    assert call.facts["faces_swapped"] == 1


def test_a_run_needs_a_target(swapper, task):
    with pytest.raises(BadRequest, match="target"):
        swapper.run(task, Call())


def test_another_task_is_refused(swapper):
    task = TextToImage(prompt="a cat", width=64, height=64, steps=1, guidance=1.0, seed=0)
    with pytest.raises(BadRequest, match="TextToImage"):
        swapper.run(task, Call())


def test_stops_within_a_few_frames_of_a_cancel(swapper, task, moving, chunks):
    call = Call()
    read = 0

    def clip():
        nonlocal read
        for chunk in chunks(np.concatenate([moving] * 10), 1):
            read += 1
            if read == 12:
                call.cancel()
            yield chunk

    with pytest.raises(Cancelled):
        join(swapper.transform(task, clip(), call))
    assert read <= 13


def test_calls_side_by_side_give_what_they_give_alone(swapper, task, crowd, moving, chunks):
    tasks = [task, SwapFaces(source=np.ascontiguousarray(crowd[:, 420:900]))] * 2
    alone = [join(swapper.transform(each, chunks(moving[:8]), Call()))[0] for each in tasks[:2]]
    assert (alone[0] != alone[1]).any()
    start = threading.Barrier(4)

    def run(each):
        start.wait()
        return join(swapper.transform(each, chunks(moving[:8]), Call()))[0]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, tasks))
    for index, pixels in enumerate(together):
        np.testing.assert_array_equal(pixels, alone[index % 2])


def test_restoring_needs_a_restorer(swapper, task, moving, chunks):
    with pytest.raises(WeightsMissing, match="restorer"):
        next(swapper.transform(replace(task, restore=True), chunks(moving), Call()))


class Inverter:
    """A restorer whose work is easy to see."""

    name = "inverter"
    side = 128

    def restore(self, crops):
        assert crops.shape[1:] == (128, 128, 3)
        return 255 - crops


def test_an_installed_restorer_works_on_each_patch_unless_refused(task, moving, chunks):
    swapper = FaceSwapper(Loading({}), restorer=Inverter())
    call = Call()
    plain, _ = join(swapper.transform(replace(task, restore=False), chunks(moving[:4]), Call()))
    restored, _ = join(swapper.transform(task, chunks(moving[:4]), call))
    invisible, _ = join(swapper.transform(replace(task, restore_visibility=0.0), chunks(moving[:4]), Call()))
    swapper.close()
    assert call.facts["restored"] is True
    assert np.abs(restored.astype(int) - plain).max() > 100
    outside = np.ones(plain.shape[1:3], bool)
    outside[20:260, 90:360] = False
    np.testing.assert_array_equal(restored[:, outside], moving[:4][:, outside])
    assert np.abs(invisible.astype(int) - plain).mean() < 0.5  # only resampled
