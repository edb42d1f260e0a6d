import dataclasses
import time

import numpy as np
import pytest

from models.errors import BadRequest, Cancelled, DeadlineExceeded
from models.runner import Call, Frames, Progress
from models.task import LoraUse, TextToVideo
from models.wan import WanTextToVideo
from models.weights import Loading

TASK = TextToVideo(seed=7, prompt="a red ball on a table", width=64, height=48, num_frames=9, fps=16, steps=3, guidance=5.0)


@pytest.fixture(scope="module")
def runner(t2v_folder) -> WanTextToVideo:
    return WanTextToVideo(Loading({"base": t2v_folder}))


def clip(runner, task, call=None) -> np.ndarray:
    return np.concatenate([frames.pixels for frames in runner.run(task, call or Call())])


def changed(**changes) -> TextToVideo:
    return dataclasses.replace(TASK, **changes)


def test_frames_come_in_a_stream_with_their_times(runner):
    items: list[Frames] = list(runner.run(TASK, Call()))
    assert [len(item.pixels) for item in items] == [1, 4, 4]
    assert all(item.pixels.shape[1:] == (48, 64, 3) and item.pixels.dtype == np.uint8 for item in items)
    assert np.concatenate([item.times_s for item in items]) == pytest.approx(np.arange(9) / 16)


def test_a_seed_is_a_clip_bit_by_bit(runner):
    first = clip(runner, TASK)
    assert np.array_equal(first, clip(runner, TASK))
    assert not np.array_equal(first, clip(runner, changed(seed=8)))
    assert np.array_equal(clip(runner, changed(seed=0)), clip(runner, changed(seed=0)))


def test_prompt_negative_prompt_and_guidance_matter(runner):
    first = clip(runner, TASK)
    for other in (changed(prompt="a blue cube"), changed(negative_prompt="blur"), changed(guidance=1.0)):
        assert not np.array_equal(first, clip(runner, other)), other


def test_no_negative_prompt_means_the_authors_and_an_empty_one_means_none(runner):
    assert not np.array_equal(clip(runner, TASK), clip(runner, changed(negative_prompt="")))


def test_progress_comes_in_order(runner):
    seen: list[Progress] = []
    call = Call(on_progress=seen.append)
    clip(runner, TASK, call)
    assert seen == [
        Progress("encode", 1, 1),
        *(Progress("denoise", done, 3) for done in (1, 2, 3)),
        *(Progress("decode", done, 9) for done in (1, 5, 9)),
    ]
    assert set(call.seconds) == {"encode", "denoise", "decode"}
    assert all(seconds > 0 for seconds in call.seconds.values())


def test_a_cancel_stops_within_one_step_and_leaves_the_runner_sound(runner):
    before = clip(runner, TASK)
    steps: list[int] = []

    def on_progress(progress: Progress) -> None:
        if progress.stage == "denoise":
            steps.append(progress.done)
            if progress.done == 2:
                call.cancel()

    call = Call(on_progress=on_progress)
    with pytest.raises(Cancelled):
        clip(runner, changed(steps=20), call)
    assert steps == [1, 2]
    assert np.array_equal(before, clip(runner, TASK))


def test_a_cancel_while_decoding_stops_at_the_next_frames(runner):
    call = Call()
    frames = runner.run(TASK, call)
    next(frames)
    call.cancel()
    with pytest.raises(Cancelled):
        next(frames)


def test_a_passed_deadline_stops_before_the_first_step(runner):
    seen: list[Progress] = []
    with pytest.raises(DeadlineExceeded):
        clip(runner, TASK, Call(deadline=time.time() - 1, on_progress=seen.append))
    assert not [progress for progress in seen if progress.stage == "denoise"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_frames": 8}, "the nearest is 9"),
        ({"num_frames": 6}, "the nearest is 5"),
        ({"num_frames": 0}, "the nearest is 1"),
        ({"width": 60}, "nearest size is 64x48"),
        ({"height": 8}, "nearest size is 64x16"),
        ({"steps": 0}, "steps must be 1"),
        ({"loras": (LoraUse("style"),)}, "'style'"),
    ],
)
def test_a_bad_request_is_told_the_way_out(runner, changes, words):
    with pytest.raises(BadRequest, match=words):
        clip(runner, changed(**changes))
