"""Palettes of regions within the network, and painting at other sizes than that of training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from palgan_jax.nn import PalGAN
from palgan_jax.nn.dimensions import NORM_EPSILON
from palgan_jax.nn.norms import PalNorm
from palgan_jax.nn.ops import attention
from palgan_jax.nn.regions import spread
from palgan_jax.palette.regions import Regions
from tests.nn.test_networks import KEY, TINY, filled, pictures


def random_regions(seed: int, regions: int, size: int, batch: int = 2) -> Regions:
    """Random palettes and shares."""
    rng = np.random.default_rng(seed)
    palettes, shares = rng.random((batch, regions, 256)), rng.random((batch, size, size, regions)) ** 3
    palettes, shares = (x / x.sum(-1, keepdims=True) for x in (palettes, shares))
    return Regions(jnp.asarray(palettes, jnp.float32), jnp.asarray(shares, jnp.float32))


def numpy_palnorm(variables, x: np.ndarray, palettes: np.ndarray, shares: np.ndarray, scale: float) -> np.ndarray:
    """PalNorm of (H, W, C) by its formula, pixel by pixel, in float64; shares (H, W, N) are of the size of x."""
    p = {path: np.asarray(value, np.float64) for path, value in flatten_dict(variables["params"]).items()}
    stats = variables["batch_stats"]["BatchNorm_0"]
    n = (x - np.asarray(stats["mean"])) / np.sqrt(np.asarray(stats["var"]) + NORM_EPSILON)
    result = np.empty_like(n)
    for i, j in np.ndindex(x.shape[:2]):
        gamma, beta = np.zeros(x.shape[-1]), np.zeros(x.shape[-1])
        for h, share in zip(palettes, shares[i, j], strict=True):
            z = h * scale @ p["hidden", "kernel"] + p["hidden", "bias"]
            z = np.where(z > 0, z, 0.2 * z)
            gamma += share * (z @ p["gamma", "kernel"] + p["gamma", "bias"])
            beta += share * (z @ p["beta", "kernel"] + p["beta", "bias"])
        result[i, j] = n[i, j] * (1 + gamma) + beta
    return result


@pytest.mark.parametrize("size", [8, 4])
def test_scale_and_shift_are_mixed_by_the_shares_as_numpy_mixes_them(size):
    layer, h = PalNorm(width=TINY), random_regions(1, 3, 8)
    x, l = jax.random.normal(KEY, (2, size, size, 5)), jnp.zeros((2, 8, 8, 1))
    variables = filled(jax.eval_shape(lambda *args: layer.init(KEY, *args, False), x, h, l))
    result = layer.apply(variables, x, h, l, False)
    for b in range(2):
        # Pillow's antialiased bilinear resizing is that of the network's scales.
        planes = [Image.fromarray(np.asarray(h.shares[b, ..., n])) for n in range(3)]
        shares = np.stack([np.asarray(plane.resize((size, size), Image.Resampling.BILINEAR)) for plane in planes], -1)
        expected = numpy_palnorm(variables, np.asarray(x[b]), np.asarray(h.palettes[b]), shares, layer.palette_scale)
        np.testing.assert_allclose(result[b], expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def painter():
    """A tiny network for pictures of 64 pixels, and its variables."""
    net = PalGAN(width=TINY)
    return net, filled(jax.eval_shape(net.init, KEY, pictures(64)))


@pytest.mark.parametrize("norm", ["palette", "spade"])
def test_a_region_that_covers_all_paints_as_its_palette_alone(norm):
    net = PalGAN(width=TINY, norm=norm)
    variables = filled(jax.eval_shape(net.init, KEY, pictures(64)))
    l, h = 0.3 * jax.random.normal(KEY, (1, 64, 64, 1)), random_regions(2, 2, 64, 1)
    first_region = h._replace(shares=jnp.zeros_like(h.shares).at[..., 1].set(1))

    @jax.jit
    def paint(h):
        return net.apply(variables, l, h, method="paint")

    expected = paint(h.palettes[:, 1])
    np.testing.assert_allclose(paint(first_region), expected, atol=2e-4)
    assert float(jnp.abs(paint(h.palettes[:, 0]) - expected).max()) > 1e-2


def test_each_half_is_painted_with_its_own_palette_away_from_the_seam(painter):
    """With local layers alone: attention would carry a little of each palette over the whole picture."""
    net, variables = painter
    net = net.clone(attention="none")
    l, h = 0.3 * jax.random.normal(KEY, (1, 64, 512, 1)), random_regions(3, 2, 8, 1)
    left = jnp.broadcast_to(jnp.arange(512)[:, None] < 256, (1, 64, 512, 1))
    h = h._replace(shares=jnp.concatenate([left, ~left], axis=-1).astype(jnp.float32))
    paint = jax.jit(lambda h: net.apply(variables, l, h, method="paint"))
    result, *parts = (np.asarray(paint(h)) for h in (h, h.palettes[:, 0], h.palettes[:, 1]))
    np.testing.assert_allclose(result[:, :, :96], parts[0][:, :, :96], atol=1e-4)
    np.testing.assert_allclose(result[:, :, -96:], parts[1][:, :, -96:], atol=1e-4)
    assert np.abs(parts[0] - parts[1]).mean() > 1e-2


@settings(max_examples=8)
@given(st.integers(1, 2), st.integers(0, 100), st.sampled_from([(8, 8), (3, 5)]))
def test_what_is_spread_is_a_mean_that_does_not_depend_on_the_order(regions, seed, size):
    h = random_regions(seed, regions, 8)
    values = jnp.asarray(np.random.default_rng(seed).normal(size=(2, regions, 3)), jnp.float32)
    result = spread(values, h, *size)
    assert result.shape == (2, *size, 3)
    assert bool(jnp.all(result <= values.max(1)[:, None, None] + 1e-5))
    assert bool(jnp.all(result >= values.min(1)[:, None, None] - 1e-5))
    order = np.random.default_rng(seed + 1).permutation(regions)
    reordered = Regions(h.palettes[:, order], h.shares[..., order])
    np.testing.assert_allclose(spread(values[:, order], reordered, *size), result, atol=1e-5)


@pytest.mark.parametrize("size", [64, 128])
def test_painting_with_a_palette_is_what_the_whole_network_paints_and_works_at_other_sizes(painter, size):
    net, variables = painter
    l, h = 0.3 * jax.random.normal(KEY, (1, size, size, 1)), random_regions(4, 1, 8, 1).palettes[:, 0]
    painted = jax.jit(lambda l, h: net.apply(variables, l, h, method="paint"))(l, h)
    assert painted.shape == (1, size, size, 2)
    if size == 64:  # that of training, which E's dense layer needs
        np.testing.assert_allclose(painted, jax.jit(net.apply)(variables, l, h)[1], atol=1e-6)


def test_attention_in_bands_of_queries_is_that_of_all_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(2, 40, size)), jnp.float32) for size in (6, 6, 5))
    expected = attention.attend(q, k, v)
    for band in (8, 9):  # 9 does not divide 40
        monkeypatch.setattr(attention, "_BAND", band)
        np.testing.assert_allclose(attention.attend(q, k, v), expected, atol=1e-6)
    monkeypatch.setattr(attention, "_BAND", 8)
    scores = jax.make_jaxpr(attention.attend)(q, k, v)
    assert "8,40" in str(scores) and "40,40" not in str(scores)
