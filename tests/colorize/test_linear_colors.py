"""Linear functions of L over a picture: stretched as Pillow stretches pictures, and gone with their picture."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from palgan_jax.colorize.lab_levels import ROOTS_OF_AB
from palgan_jax.colorize.linear_colors import LinearColors, PixelColors


def maps_of(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Offset and slope, (h, w, 2) each."""
    values = np.random.default_rng(0).normal(size=(2, height, width, 2)).astype(np.float32)
    return 20 * values[0], values[1] / 5


@pytest.mark.parametrize("maps", [(1, 1), (3, 5), (64, 64)])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (64, 64), (30, 200), (301, 97)])
def test_maps_are_stretched_as_pillow_stretches_them(maps, size):
    offset, slope = maps_of(*maps)
    l = np.random.default_rng(1).uniform(0, 100, size).astype(np.float32)

    def large(x: np.ndarray) -> np.ndarray:
        planes = [Image.fromarray(x[..., i]).resize(size[::-1], Image.Resampling.BICUBIC) for i in range(2)]
        return np.stack(planes, -1)

    expected = large(offset) + large(slope) * l[..., None]
    colors = LinearColors(offset, slope, size)
    rows = [colors.roots(l[top : top + 7], top, min(top + 7, size[0])) for top in range(0, size[0], 7)]
    *roots, gray = np.concatenate(rows, axis=1)
    np.testing.assert_allclose(gray, l + 16)
    np.testing.assert_allclose((np.stack(roots, -1) - gray[..., None]) / ROOTS_OF_AB, expected, atol=0.02)
    y, x = (np.random.default_rng(2).integers(0, side, 9) for side in size)
    at_pixels = PixelColors(maps, size, np.stack([x, y], -1), l[y, x])(offset, slope)
    np.testing.assert_allclose(at_pixels, expected[y, x], atol=1e-3)


def test_a_wide_picture_leaves_no_tables_behind():
    maps = maps_of(64, 64)
    LinearColors(*maps, (8, 8))
    tracemalloc.start()
    LinearColors(*maps, (4, 30_000))
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1e6 < most
