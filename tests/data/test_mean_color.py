"""The mean color of a set."""

import numpy as np
import pytest
import skimage.color

from palgan_jax.data.mean_color import mean_ab
from palgan_jax.errors import DataStopped, UserError

PICTURES = np.random.default_rng(0).integers(0, 256, (10, 4, 6, 3), np.uint8)
BROKEN = {4}


def read(number: int) -> np.ndarray:
    if number in BROKEN:
        raise UserError(f"{number} is broken.")
    return PICTURES[number]


def test_the_mean_is_of_pictures_spread_over_all_without_those_that_are_broken(caplog):
    expected = skimage.color.rgb2lab(PICTURES[[0, 2, 6, 8]])[..., 1:].mean(axis=(0, 1, 2))
    np.testing.assert_allclose(mean_ab(read, range(10), "ten", count=5), expected, atol=1e-3)
    assert "left out of the mean color: 4 is broken." in caplog.text


def test_pictures_that_all_cannot_be_read_have_no_mean_color():
    with pytest.raises(DataStopped, match="none of 1 pictures of ten can be read, so they have no mean color: "):
        mean_ab(read, [4], "ten")
