"""Colors along the edges of the luminance, against SciPy's filters, and by what they are for."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter

from palgan_jax.colorize.edges import BLUR, SLIGHT, WINDOW, Guide
from palgan_jax.colorize.join import Colors, join, join_colors, luminance
from palgan_jax.colorize.linear_colors import LinearColors
from palgan_jax.data.decode import read_rgb
from palgan_jax.metrics.bleeding import color_bleeding

SIDE = 128


def sharpened(lightness: np.ndarray, ab: np.ndarray) -> np.ndarray:
    offset, slope = Guide(lightness).along(ab)
    return offset + slope * lightness[..., None]


def test_slope_and_offset_are_the_regression_of_scipys_filters(samples):
    lightness = luminance(read_rgb(samples / "parrot.jpg"))[:SIDE, :SIDE]
    ab = gaussian_filter(np.random.default_rng(0).uniform(-60, 60, (SIDE, SIDE, 2)), (5, 5, 0)) * 10
    radius = round(WINDOW * SIDE)

    def mean(x):
        return uniform_filter(x, 2 * radius + 1)

    blurred = gaussian_filter(lightness.astype(np.float64), BLUR * SIDE, truncate=8)
    variance = mean(blurred**2) - mean(blurred) ** 2
    slope = [mean((mean(blurred * x) - mean(blurred) * mean(x)) / (variance + SLIGHT)) for x in np.moveaxis(ab, -1, 0)]
    expected = ab + np.stack(slope, -1) * (lightness - blurred)[..., None]
    inside = slice(5 * radius, -5 * radius)  # windows and blurs end at the border in other ways
    actual = sharpened(lightness, ab.astype(np.float32))
    np.testing.assert_allclose(actual[inside, inside], expected[inside, inside], atol=0.02)


def stretched(lightness: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """The picture with ab stretched over it, whatever its edges."""
    return join_colors(Colors(lightness, [LinearColors(ab, np.zeros_like(ab), lightness.shape)], []))


def scene(noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A dark red disc before a bright blue ground: L and ab, with noise on L."""
    y, x = np.indices((SIDE, SIDE)) - SIDE / 2
    disc = (np.hypot(x, y) < SIDE / 4)[..., None]
    lightness = np.where(disc[..., 0], 35, 75) + np.random.default_rng(0).normal(0, noise, (SIDE, SIDE))
    return lightness.astype(np.float32), np.where(disc, (30, 20), (0, -25)).astype(np.float32)


def test_a_blurred_color_ends_where_the_luminance_does():
    lightness, ab = scene()
    painted = gaussian_filter(ab, (BLUR * SIDE, BLUR * SIDE, 0))
    truth, plain = (stretched(lightness, x) for x in (ab, painted))
    result = join(lightness, painted)
    assert color_bleeding(plain[None], truth[None])[0] > 0.35
    assert color_bleeding(result[None], truth[None])[0] < 0.15
    error = np.abs(sharpened(lightness, painted) - ab)
    assert error.mean() < 0.5 * np.abs(painted - ab).mean()
    is_far = np.abs(painted - ab).max(-1) < 0.01
    assert is_far.mean() > 0.3 and error[is_far].max() < 3


def test_grain_and_edges_without_another_color_stay_without():
    lightness, _ = scene(noise=3)
    y, x = np.indices((SIDE, SIDE)) / SIDE
    slow = np.stack([20 * x, 15 - 30 * y], -1).astype(np.float32)
    assert np.abs(sharpened(lightness, np.full((SIDE, SIDE, 2), 12, np.float32)) - 12).max() < 1e-2
    assert np.abs(sharpened(lightness, slow) - slow).mean() < 0.5


@pytest.mark.parametrize("factor", [1, 3])
def test_edges_are_sharp_at_full_resolution(factor):
    """Whatever the picture's size: within two pixels of an outline the color is the one of its side."""
    lightness, ab = scene()
    large, color = (np.kron(x, np.ones((factor, factor) + (1,) * (x.ndim - 2))) for x in (lightness, ab))
    joined = join(large.astype(np.float32), gaussian_filter(ab, (BLUR * SIDE, BLUR * SIDE, 0)))
    row = joined[len(large) // 2].astype(int)
    truth = stretched(large.astype(np.float32), color.astype(np.float32))
    truth = truth[len(large) // 2].astype(int)
    edge = int(np.argmax(np.abs(np.diff(large[len(large) // 2])))) + 1
    for place in (edge - 3, edge + 2):
        assert np.abs(row[place] - truth[place]).max() < 30
        assert np.abs(row[place] - row[2 * edge - 1 - place]).max() > 60
