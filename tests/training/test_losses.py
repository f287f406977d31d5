"""Losses and draws of the step that the golden files of PyTorch do not hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palgan_jax.palette.histogram import hellinger, histogram
from palgan_jax.palette.spec import PaletteSpec
from palgan_jax.training import losses
from palgan_jax.training.augmentation import jittered


def test_huber_is_quadratic_and_then_linear():
    zero, delta = jnp.zeros((1, 1, 1, 2)), losses.HUBER_DELTA
    for error, expected in ((delta / 2, delta**2 / 8), (delta, delta**2 / 2), (3 * delta, 2.5 * delta**2)):
        assert float(losses.color_huber(zero + error, zero)) == pytest.approx(expected, rel=1e-5)


def test_palettes_of_cells_are_compared_with_those_of_their_part():
    spec = PaletteSpec(bins=4)
    rng = np.random.default_rng(0)
    c = rng.uniform(-1, 1, (2, 12, 16, 2)).astype(np.float32)
    cells = rng.dirichlet(np.ones(16), (2, 3, 2)).astype(np.float32)
    distances = [
        float(hellinger(cells[b, i, j], histogram(c[b, 4 * i : 4 * i + 4, 8 * j : 8 * j + 8], spec)) ** 2)
        for b in range(2) for i in range(3) for j in range(2)
    ]  # fmt: skip
    assert float(losses.cell_palettes(cells, c, spec)) == pytest.approx(np.mean(distances), rel=1e-4)


def test_tones_change_within_their_bounds_and_keep_their_order():
    l = jnp.linspace(-0.5, 0.5, 101).reshape(1, 101, 1, 1)
    tones = jax.random.uniform(jax.random.key(0), (50, 3))
    result = np.asarray(jittered(jnp.repeat(l, 50, axis=0), tones, 1.0))[..., 0, 0]
    assert result.min() >= -0.5 and result.max() <= 0.5
    assert (np.diff(result, axis=1) >= 0).all()
    assert np.ptp(result[:, 50]) > 0.1, "the middle gray of some is dark, of others light"
    middle = jnp.full((1, 3), 0.5).at[0, 1].set(0.625)
    np.testing.assert_allclose(jittered(l, middle, 1.0), l, atol=2e-3)
    np.testing.assert_allclose(jittered(l, tones[:1], 0.0), l, atol=2e-3)
