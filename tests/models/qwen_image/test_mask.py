import numpy as np

from models.qwen_image.mask import cells, laid_over


def test_a_change_fades_in_from_the_edge_of_the_mask_alone():
    source, change = np.zeros((40, 40, 3), np.uint8), np.full((40, 40, 3), 200, np.uint8)
    free = np.zeros((40, 40), bool)
    free[10:30, 10:30] = True
    soft = laid_over(source, change, free, feather=4)[..., 0]
    assert (soft[~free] == 0).all()
    assert 0 < soft[20, 10] < soft[20, 12] < 200
    assert soft[20, 20] == 200
    assert set(np.unique(laid_over(source, change, free, feather=0))) == {0, 200}


def test_the_border_of_the_picture_is_no_edge_of_the_mask():
    source, change = np.zeros((40, 40, 3), np.uint8), np.full((40, 40, 3), 200, np.uint8)
    assert (laid_over(source, change, np.ones((40, 40), bool), feather=8) == 200).all()


def test_a_cell_with_any_masked_pixel_is_repainted():
    free = np.zeros((32, 32), bool)
    free[8, 15] = True
    assert cells(free)[0, 0].tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
