"""Paintings that follow their palettes: closed forms of optimal transport, and properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palgan_jax.palette.histogram import hellinger, histogram
from palgan_jax.palette.spec import PaletteSpec
from palgan_jax.palette.transport import NEAR, followed

FAR_AWAY = histogram(np.full((1, 1, 2), -0.6, np.float32))


@pytest.fixture(scope="module")
def painting():
    """ab (64, 96, 2), Lab units: normal, of deviations 12 and 8."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(64, 96, 2)) * (12, 8) + (5, -10)).astype(np.float32)


def palette_of(ab, spec=PaletteSpec()):
    return histogram(ab / np.float32(110), spec)


# What is as wide as the kernel of palettes is blurred by it: ways are those of the closed form to some units.
@pytest.mark.parametrize(("deviations", "center", "within"), [((12, 8), (25, 15), 1.5), ((24, 16), (5, -10), 4.0)])
def test_the_optimal_map_between_normal_colors(painting, deviations, center, within):
    """It is affine (Olkin and Pukelsheim, 1982)."""
    optimal = (painting - (5, -10)) / (12, 8) * deviations + center
    result = followed(painting, palette_of(optimal.astype(np.float32)), FAR_AWAY)
    middle = (abs(painting - (5, -10)) < (12, 8)).all(-1)
    assert abs(result - optimal)[middle].mean() < within < 0.5 * abs(painting - optimal)[middle].max()


@pytest.mark.parametrize(
    "spec", [PaletteSpec(), PaletteSpec(8, 0.9, 0.2, "gaussian", "max"), PaletteSpec(kernel="hard")]
)
def test_what_has_its_palette_stays_and_what_has_not_comes_nearer(painting, spec):
    far_palette = np.eye(spec.size, dtype=np.float32)[0]
    np.testing.assert_allclose(followed(painting, palette_of(painting, spec), far_palette, spec), painting, atol=0.1)
    h = palette_of(painting[..., ::-1] * np.float32(1.5), spec)
    before, after = (hellinger(palette_of(x, spec), h) for x in (painting, followed(painting, h, far_palette, spec)))
    assert after < 0.6 * before


def test_palettes_without_common_colors_and_of_single_bins_give_numbers(painting):
    for ab in (painting, np.zeros_like(painting), np.full_like(painting, 300)):
        for h in np.eye(256, dtype=np.float32)[[0, 119, 255]]:
            for weights in (None, np.zeros(ab.shape[:2], np.float32)):
                assert np.isfinite(followed(ab, h, FAR_AWAY, weights=weights)).all()


def test_the_nearer_the_predicted_palette_the_less_is_moved(painting):
    h = palette_of(painting * np.float32(1.5))
    full_change = followed(painting, h, FAR_AWAY) - painting
    np.testing.assert_allclose(followed(painting, h, h), painting, atol=1e-3)
    near_palette = 0.9 * h + 0.1 * palette_of(painting)
    share = hellinger(h, near_palette) / NEAR
    assert 0.05 < share < 0.95
    np.testing.assert_allclose(followed(painting, h, near_palette) - painting, share * full_change, atol=1e-3)


def test_pixels_of_no_weight_decide_nothing(painting):
    h = palette_of(painting * np.float32(1.5))
    half = np.zeros(painting.shape[:2], np.float32)
    half[:32] = 0.7
    pictures = np.where(half[..., None] > 0, painting, -painting)
    expected = followed(np.ascontiguousarray(painting[:32]), h, FAR_AWAY)
    np.testing.assert_allclose(followed(pictures, h, FAR_AWAY, weights=half)[:32], expected, atol=1e-3)


def test_batches_and_programs_of_jax_do_the_same(painting):
    batch = np.stack([painting, -painting])
    h = np.stack([palette_of(painting * np.float32(1.5)), FAR_AWAY])
    single = [followed(*pair, FAR_AWAY) for pair in zip(batch, h, strict=True)]
    assert single[0].dtype == np.float32
    predicted = np.stack([FAR_AWAY] * 2)
    np.testing.assert_allclose(followed(batch, h, predicted), single, atol=1e-3)
    program = jax.jit(followed)(jnp.asarray(batch), jnp.asarray(h), jnp.asarray(predicted))
    np.testing.assert_allclose(program, single, atol=1e-2)
