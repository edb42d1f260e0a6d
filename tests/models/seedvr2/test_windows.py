import numpy as np
import pytest

from models.seedvr2.windows import layout, window_size

SHAPES = [(1, 45, 80), (1, 68, 120), (6, 68, 120), (1, 3, 2), (31, 9, 200), (1, 128, 128), (2, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shifted", [False, True])
def test_each_token_is_in_exactly_one_window(shape, shifted):
    cut = layout(shape, shifted=shifted)
    tokens = np.concatenate([batch.reshape(-1) for batch in cut.batches()])
    assert sorted(tokens) == list(range(np.prod(shape)))
    assert sum(len(batch) for batch in cut.batches()) == cut.count


def test_a_720p_picture_has_nine_windows():
    cut = layout((1, 45, 80), shifted=False)
    assert window_size((1, 45, 80)) == (1, 15, 27)
    assert cut.cuts == (((0, 1),), ((0, 15), (15, 30), (30, 45)), ((0, 27), (27, 54), (54, 80)))


def test_larger_pictures_get_more_windows_not_larger_ones():
    assert window_size((1, 68, 120)) == window_size((1, 45, 80))
    assert layout((1, 68, 120), shifted=False).count == 25


def test_shifting_moves_the_cuts_by_half_a_window_and_leaves_an_undivided_axis():
    assert layout((1, 45, 80), shifted=True).cuts == (
        ((0, 1),),
        ((0, 7), (7, 22), (22, 37), (37, 45)),
        ((0, 13), (13, 40), (40, 67), (67, 80)),
    )


def test_windows_of_one_shape_are_one_batch():
    shapes = [batch.shape for batch in layout((1, 45, 80), shifted=False).batches()]
    assert shapes == [(6, 15 * 27), (3, 15 * 26)]
