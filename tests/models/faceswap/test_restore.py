import numpy as np
import pytest

from models.errors import WeightsMissing
from models.faceswap.engine import Patch
from models.faceswap.restore import Restored, Steadying, chosen

SIDE = 64
WHOLE = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
GREY = np.full((SIDE, SIDE, 3), 120, np.uint8)
PATCH = Patch(0, 0, GREY, np.ones((SIDE, SIDE), np.float32))


class Nothing:
    name = "nothing"
    side = SIDE

    def restore(self, crops):
        return crops


def test_a_restorer_is_used_when_there_is_one_unless_refused():
    restorer = Nothing()
    assert chosen(None, restorer) is restorer
    assert chosen(True, restorer) is restorer
    assert chosen(False, restorer) is None


def test_without_one_only_asking_for_it_is_an_error():
    assert chosen(None, None) is None
    assert chosen(False, None) is None
    with pytest.raises(WeightsMissing, match="none is installed"):
        chosen(True, None)


def laid(steadying, before, after, track=0):
    frame = before.copy()
    steadying.lay(frame, [Restored(track, PATCH, WHOLE, before, after)])
    return frame[16:48, 16:48].astype(int)


@pytest.mark.parametrize(("visibility", "expected"), [(0.0, 120), (0.5, 140), (1.0, 160)])
def test_detail_is_blended_by_its_visibility(visibility, expected):
    frame = laid(Steadying(visibility), GREY, GREY + 40)
    assert (frame == expected).all()


def test_detail_that_flickers_on_a_still_face_is_calmed():
    random = np.random.default_rng(0)
    steadying = Steadying(1.0)
    details = [random.integers(-40, 40, GREY.shape) for _ in range(12)]
    frames = [laid(steadying, GREY, (GREY + detail).astype(np.uint8)) for detail in details]
    raw = [(GREY + detail)[16:48, 16:48] for detail in details]
    assert np.abs(np.diff(frames, axis=0)).mean() < 0.5 * np.abs(np.diff(raw, axis=0)).mean()


def test_detail_of_a_face_that_changes_is_not_dragged_along():
    steadying = Steadying(1.0)
    laid(steadying, GREY, GREY + 60)
    moved = np.full_like(GREY, 40)
    assert (laid(steadying, moved, moved) == 40).all()


def test_tracks_do_not_mix():
    steadying = Steadying(1.0)
    laid(steadying, GREY, GREY + 60, track=0)
    assert (laid(steadying, GREY, GREY, track=1) == 120).all()


def test_nothing_changes_where_nothing_was_painted():
    frame = np.full((200, 200, 3), 90, np.uint8)
    away = np.array([[1.0, 0.0, -150.0], [0.0, 1.0, -150.0]])  # the crop reaches over the frame's edges
    painted = Patch(170, 170, np.zeros((60, 60, 3), np.uint8), np.ones((60, 60), np.float32))
    Steadying(1.0).lay(frame, [Restored(0, painted, away, GREY, GREY + 80)])
    assert (frame[:170] == 90).all()
    assert (frame[:, :170] == 90).all()
    assert (frame[175:, 175:] > 150).any()
