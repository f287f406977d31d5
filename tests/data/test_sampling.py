"""Mean color and typical palettes of a set."""

import numpy as np
import pytest
import skimage.color

from palgan_jax.data.crop import squash
from palgan_jax.data.sampling import averages, mean_ab
from palgan_jax.errors import DataStopped, UserError
from palgan_jax.palette.histogram import of_picture
from palgan_jax.palette.spec import PaletteSpec

PICTURES = np.random.default_rng(0).integers(0, 256, (10, 4, 6, 3), np.uint8)
BROKEN = {4}


def read(number: int) -> np.ndarray:
    if number in BROKEN:
        raise UserError(f"{number} is broken.")
    return PICTURES[number]


def test_the_mean_is_of_pictures_spread_over_all_without_those_that_are_broken(caplog):
    expected = skimage.color.rgb2lab(PICTURES[[0, 2, 6, 8]])[..., 1:].mean(axis=(0, 1, 2))
    np.testing.assert_allclose(mean_ab(read, range(10), "ten", count=5), expected, atol=1e-3)
    assert "left out of the averages: 4 is broken." in caplog.text


def test_pictures_that_all_cannot_be_read_have_no_mean_color():
    with pytest.raises(DataStopped, match="none of 1 pictures of ten can be read, so they have no mean color: "):
        mean_ab(read, [4], "ten")


@pytest.mark.parametrize("normalization", ["sum", "max"])
def test_typical_palettes_are_mean_and_median_of_those_of_the_squashed_pictures(normalization):
    spec = PaletteSpec(bins=4, normalization=normalization)
    rows = [0, 2, 6, 8]
    palettes = np.stack([of_picture(squash(PICTURES[row], 8), spec) for row in rows])
    result = averages(read, range(10), "ten", resolution=8, spec=spec, ab_range=110.0, count=5)
    np.testing.assert_allclose(result.ab, mean_ab(read, rows, "four"))
    scale = {"sum": np.sum, "max": np.max}[normalization]
    for h, expected in ((result.mean_palette, palettes.mean(0)), (result.median_palette, np.median(palettes, 0))):
        np.testing.assert_allclose(h, expected / scale(expected), rtol=1e-4)
    assert not np.allclose(result.mean_palette, result.median_palette, rtol=1e-2)
