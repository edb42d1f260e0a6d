import numpy as np
import pytest
from skimage.data import astronaut, coffee

from models.clip.quality import Gate, gated, ssim
from models.errors import PoorQuality
from models.runner import Call, Frames, Progress

PHOTO = np.ascontiguousarray(astronaut()[::2, ::2])


def moving(count: int = 8) -> list[np.ndarray]:
    return [np.roll(PHOTO, 2 * index, axis=1) for index in range(count)]


def faults(pictures, first=None):
    gate = Gate(first)
    for picture in pictures:
        gate.look(picture)
    return gate.faults()


def test_a_good_clip_passes():
    assert faults(moving(), PHOTO) == []
    assert faults(moving()) == []
    assert faults([PHOTO]) == []


@pytest.mark.parametrize("colour", [0, 255, 200])
def test_blank_frames_are_counted(colour):
    pictures = moving()
    pictures[3:5] = [np.full_like(PHOTO, colour)] * 2
    assert "blank=2" in faults(pictures)


def test_a_flash_is_found_and_a_slow_dawn_is_not():
    pictures = moving()
    pictures[0] = (pictures[0] * 0.05).astype(np.uint8)  # what the present service does at its first frame
    assert faults(pictures) == ["flash=1"]
    assert faults([(picture * (0.7 + 0.03 * index)).astype(np.uint8) for index, picture in enumerate(moving())]) == []


def test_a_first_frame_that_is_another_picture_is_found():
    (fault,) = faults(moving(), np.ascontiguousarray(coffee()))
    assert fault.startswith("first-frame=0.")
    noisy = np.random.default_rng(0).normal(PHOTO, 8).clip(0, 255).astype(np.uint8)
    assert faults(moving(), noisy) == []


def test_a_frozen_clip_is_found():
    assert faults([PHOTO] * 8) == ["frozen"]


def test_ssim_is_the_published_measure():
    from skimage.metrics import structural_similarity

    one, two = (np.asarray(picture[:256, :256].mean(axis=2), np.float32) for picture in (PHOTO, coffee()))
    assert ssim(one, one) == pytest.approx(1)
    expected = structural_similarity(one, two, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    assert ssim(one, two) == pytest.approx(expected, abs=0.01)


def stream(pictures):
    return (Frames(picture[None], np.array([index / 16])) for index, picture in enumerate(pictures))


def test_frames_pass_unchanged_and_the_facts_say_what_was_found():
    call = Call()
    passed = [part.pixels[0] for part in gated(stream([PHOTO] * 3), call, first=None, refuse=False)]
    assert np.array_equal(passed, [PHOTO] * 3)
    assert call.facts["quality"] == "frozen"
    list(gated(stream(moving()), call, first=PHOTO, refuse=True))
    assert call.facts["quality"] == "ok"


def test_a_clip_with_a_fault_is_refused_when_asked():
    with pytest.raises(PoorQuality, match="frozen"):
        list(gated(stream([PHOTO] * 3), Call(), first=None, refuse=True))


def test_the_first_frame_is_shown_at_once():
    seen: list[Progress] = []
    clip = gated(stream(moving()), Call(on_progress=seen.append), first=None, refuse=False, preview=True)
    next(clip)
    assert [progress.stage for progress in seen] == ["preview"]
    assert seen[0].picture.startswith(b"\xff\xd8")
