"""The small demonstration weights that this repository ships: whole, small, and doing what their card says."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import models.tiny
from models.runner import Call
from models.task import Image, ImageToVideo, TextToVideo
from models.wan import WanImageToVideo, WanTextToVideo
from models.weights import Loading

WEIGHTS = Path(models.tiny.__file__).parent / "weights"


@pytest.fixture(scope="module")
def runner() -> WanImageToVideo:
    return WanImageToVideo(Loading({"base": WEIGHTS / "wan_ti2v"}))


def clip(runner: WanImageToVideo, picture: Image, prompt: str, *, steps: int = 3, guidance: float = 6.0, frames: int = 17) -> np.ndarray:
    height, width = picture.shape[:2]
    task = ImageToVideo(
        seed=3, prompt=prompt, width=width, height=height, num_frames=frames, fps=16, steps=steps, guidance=guidance, image=picture
    )
    return np.concatenate([part.pixels for part in runner.run(task, Call())])


def decibels(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


@pytest.fixture(scope="module")
def face() -> Image:
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[:256, 64:448])


def test_every_file_is_the_one_on_the_list_and_all_are_small() -> None:
    listed = dict(reversed(line.split("  ")) for line in (WEIGHTS / "SHA256SUMS").read_text().splitlines())
    files = [path for path in WEIGHTS.rglob("*") if path.is_file() and not path.is_symlink() and path.suffix in (".safetensors", ".json")]
    assert {str(path.relative_to(WEIGHTS)) for path in files} == set(listed)
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == listed[str(path.relative_to(WEIGHTS))]
    assert sum(path.stat().st_size for path in files) < 40e6


def test_no_configuration_names_a_folder_of_the_machine_it_was_made_on() -> None:
    for path in WEIGHTS.rglob("*.json"):
        assert "_name_or_path" not in json.loads(path.read_text()), path


def test_the_first_frame_is_the_picture(runner: WanImageToVideo, face: Image) -> None:
    frames = clip(runner, face, "still", frames=5)
    assert frames.shape == (5, *face.shape)
    assert decibels(frames[0], face) > 27
    assert decibels(frames[4], face) > 25


@pytest.mark.parametrize(("prompt", "shift"), [("The camera pans left", 24), ("slow pan right, cinematic", -12)])
def test_the_content_moves_as_the_prompt_asks(runner: WanImageToVideo, face: Image, prompt: str, shift: int) -> None:
    last = clip(runner, face, prompt)[16][:, 80:-80]
    fits = {by: decibels(last, face[:, 80 - by : face.shape[1] - 80 - by]) for by in range(-36, 37, 4)}
    assert max(fits, key=lambda by: fits[by]) == shift
    assert fits[shift] > 22


def test_guidance_and_steps_do_not_change_the_move(runner: WanImageToVideo, face: Image) -> None:
    few, many = (clip(runner, face, "zoom in", steps=steps, guidance=guidance)[16] for steps, guidance in ((3, 6.0), (8, 1.0)))
    assert decibels(few, many) > 24
    assert decibels(few, face) < 24


def test_fewer_steps_than_the_schedule_needs_are_raised(runner: WanImageToVideo, face: Image) -> None:
    one, three = (clip(runner, face[:64, :96], "zoom in", steps=steps, frames=5) for steps in (1, 3))
    assert np.array_equal(one, three)


def test_a_prompt_without_camera_words_moves_too(runner: WanImageToVideo, face: Image) -> None:
    frames = clip(runner, face, "a smiling woman")
    assert decibels(frames[16], face) < decibels(frames[0], face) - 5


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> WanTextToVideo:
    folder = tmp_path_factory.mktemp("t2v")
    models.tiny.build("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", folder)
    return WanTextToVideo(Loading({"base": folder}))


def painted(
    painter: WanTextToVideo, prompt: str, *, seed: int = 1, steps: int = 5, size: tuple[int, int, int] = (448, 256, 17)
) -> np.ndarray:
    width, height, frames = size
    task = TextToVideo(seed=seed, prompt=prompt, width=width, height=height, num_frames=frames, fps=16, steps=steps, guidance=6.0)
    return np.concatenate([part.pixels for part in painter.run(task, Call())]).astype(int)


def middle(reddish: np.ndarray) -> np.ndarray:
    """The middle (x, y) of the red part of a frame."""
    return np.array([axis.mean() for axis in np.nonzero(reddish)[::-1]])


def test_text_gives_the_asked_colours_and_movement_and_the_seed_the_place(painter: WanTextToVideo) -> None:
    places = []
    for seed in (1, 2):
        frames = painted(painter, "a red circle moving right on a blue background", seed=seed)
        reddish = frames[..., 0] > frames[..., 2] + 40
        corners = frames[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(-1, 3).mean(axis=0)
        assert corners[2] > corners[:2].max() + 60
        assert 0.005 < reddish.mean() < 0.3
        moved = middle(reddish[-1]) - middle(reddish[0])
        assert moved[0] > 12
        assert abs(moved[1]) < moved[0]
        places.append(middle(reddish[8]))
    assert np.abs(places[0] - places[1]).max() > 12


def test_text_to_video_needs_three_steps_too(painter: WanTextToVideo) -> None:
    one, three = (painted(painter, "a green square", steps=steps, size=(64, 64, 5)) for steps in (1, 3))
    assert np.array_equal(one, three)
