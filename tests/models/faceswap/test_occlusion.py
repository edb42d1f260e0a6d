import cv2
import numpy as np
import pytest

from models.faceswap.mesh import Mesh
from models.faceswap.occlusion import Occlusion
from models.faceswap.smoothing import smooth
from models.faceswap.swapper import FaceSwapper
from models.faceswap.tracker import Tracker
from models.runner import Call, Frames
from models.task import FaceMask, SourceFace, SwapFaces
from models.weights import Loading


@pytest.fixture(scope="module")
def large(astronaut):
    """A face of 190 pixels."""
    part = np.ascontiguousarray(astronaut[20:240, 110:340])
    return cv2.resize(part, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)


def hand_over(frames, first, last):
    """A flat, skin-like bar that crosses the lower face, and where it is."""
    frames, where = frames.copy(), np.zeros(frames.shape[:3], bool)
    for number in range(first, last):
        x = 40 + 22 * (number - first)
        where[number, 200:300, x : x + 70] = True
        frames[number][where[number]] = (150, 100, 80)
    return frames, where


def covers(engine, frames):
    chunks = [Frames(frames, np.arange(len(frames)) / 16)]
    tracked = smooth(Tracker(engine, [SourceFace(image=frames[0])]).track(chunks))
    return [item.faces[0].cover if item.faces else None for item in Occlusion(Mesh()).find(tracked)]


def test_a_bare_face_is_hidden_by_next_to_nothing(engine, large):
    found = covers(engine, np.stack([np.roll(large, 2 * i, axis=1) for i in range(10)]))
    assert max(float(cover.hidden.mean()) for cover in found) < 0.12  # her fringe


def test_what_passes_in_front_is_found_and_forgotten(engine, large):
    frames, _ = hand_over(np.stack([large] * 24), 12, 20)
    amounts = [0.0 if cover is None else float(cover.hidden.mean()) for cover in covers(engine, frames)]
    bare = max(amounts[:12])
    assert max(amounts[13:19]) > bare + 0.05
    assert amounts[-1] < bare + 0.03


def test_the_swap_leaves_it_in_front(large, source, chunks):
    frames, where = hand_over(np.stack([large] * 22), 12, 20)
    swapper = FaceSwapper(Loading({}))

    def changed(occlusion):
        task = SwapFaces(source=source, mask=FaceMask(occlusion=occlusion))
        out = np.concatenate([part.pixels for part in swapper.transform(task, chunks(frames), Call())])
        return (np.abs(out.astype(int) - frames).max(axis=-1) > 8)[13:19]

    over, behind = changed(False), changed(True)
    swapper.close()
    bar = where[13:19] & over
    assert bar.sum() > 2000
    assert (behind & bar).sum() < 0.5 * bar.sum()
    rest = over & ~where[13:19]
    assert (behind & rest).sum() > 0.8 * rest.sum()
