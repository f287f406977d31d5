"""E with a pretrained encoder: shapes, palettes of cells, dropout by picture, features by moving averages."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palgan_jax.nn import PaletteGenerator, PalGAN
from palgan_jax.nn.dimensions import FEATURES_EPSILON
from palgan_jax.nn.ops.upsampling import upsample
from palgan_jax.nn.pretrained_palette_generator import (
    CELLS,
    MOMENTUM,
    PretrainedPaletteGenerator,
    Standardize,
    drop,
    first_parameters,
)

KEY = jax.random.key(0)
TINY = 1 / 16


@pytest.fixture(scope="module")
def small():
    """A palette generator for pictures of 64 pixels with random weights, compiled once: (function, variables)."""
    net = PretrainedPaletteGenerator(width=TINY, stride=2, dropout=0.5)
    shapes = jax.eval_shape(net.init, KEY, jnp.zeros((2, 64, 64, 1)))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: rng.normal(0, 0.05, leaf.shape).astype(np.float32), dict(shapes))
    variables["batch_stats"] = jax.tree.map(lambda leaf: np.abs(leaf) + 1, variables["batch_stats"])

    @jax.jit
    def run(variables, l, keys):
        evaluated = net.apply(variables, l)
        trained, updates = net.apply(variables, l, True, keys, mutable=["batch_stats", CELLS])
        return evaluated, trained, updates

    return run, variables


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(64, 64), (128, 192), (256, 256)])
def test_maps_are_those_of_the_papers_encoder_for_the_painted_size(size, stride):
    l = jax.ShapeDtypeStruct((2, *size, 1), jnp.float32)
    net = PretrainedPaletteGenerator(width=0.25, stride=stride)
    (h, maps), variables = jax.eval_shape(lambda l: net.init_with_output(KEY, l), l)
    painted = jax.ShapeDtypeStruct((2, size[0] // stride, size[1] // stride, 1), jnp.float32)
    (_, expected), _ = jax.eval_shape(lambda l: PaletteGenerator(width=0.25).init_with_output(KEY, l), painted)
    no_palette, taps = jax.eval_shape(lambda v, l: net.apply(v, l, taps_only=True), variables, l)
    assert no_palette is None and taps == maps
    if min(painted.shape[1:3]) >= 64:
        assert [x.shape for x in maps] == [x.shape for x in expected]
    assert h.shape == (2, 256)
    count = sum(x.size for x in jax.tree.leaves(variables["params"]))
    assert 4_200_000 < count < 4_300_000, "3.35 million of the encoder, 0.9 of the palette's layers"


def test_the_palette_is_the_mean_of_the_palettes_of_cells(small):
    run, variables = small
    l = jax.random.uniform(KEY, (2, 64, 64, 1), minval=-0.5, maxval=0.5)
    (h, _), (h_train, _), updates = run(variables, l, jax.random.split(KEY, 2))
    cells = updates[CELLS]["palettes"]
    assert cells.shape == (2, 2, 2, 256)
    np.testing.assert_allclose(cells.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(cells.mean((1, 2)), h_train, rtol=1e-5)
    np.testing.assert_allclose(h.sum(-1), 1, rtol=1e-5)
    assert np.ptp(np.asarray(cells), axis=(1, 2)).max() > 1e-4, "cells differ"


def test_each_picture_draws_from_its_own_key(small):
    run, variables = small
    l = jax.random.uniform(KEY, (2, 64, 64, 1), minval=-0.5, maxval=0.5)
    keys = jax.random.split(KEY, 2)
    _, (result, _), _ = run(variables, l, keys)
    _, (swapped, _), _ = run(variables, l[::-1], keys[::-1])
    _, (reordered, _), _ = run(variables, l, keys[::-1])
    np.testing.assert_allclose(result, swapped[::-1], rtol=1e-4)
    assert float(jnp.abs(result - reordered).max()) > 1e-5


def test_dropout_keeps_the_mean_and_drops_the_share():
    x = jnp.ones((4, 5, 2000))
    y = np.asarray(drop(x, jax.random.split(KEY, 4), 0.7, 1))
    assert set(np.unique(y.round(4))) == {0, np.float32(3.3333)}
    np.testing.assert_allclose(y.mean(), 1, atol=0.03)
    assert (y[0, 0] != y[0, 1]).any() and (y[0] != y[1]).any()
    assert (y != np.asarray(drop(x, jax.random.split(KEY, 4), 0.7, 2))).any()


def test_a_new_one_predicts_the_mean_palette():
    net = PretrainedPaletteGenerator(width=TINY)
    l = jnp.zeros((1, 64, 64, 1))
    shapes = jax.eval_shape(net.init, KEY, l)
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), dict(shapes))
    mean = np.random.default_rng(1).dirichlet(np.full(256, 0.3)).astype(np.float32)
    values = first_parameters(variables["params"]["encoder"], mean)
    for name, part in values.items():
        variables["params"][name] = {**variables["params"][name], **part}
    h, _ = net.apply(variables, l)
    np.testing.assert_allclose(h[0], mean, atol=1e-4)


def test_features_are_standardized_by_moving_averages():
    layer, rng = Standardize(), np.random.default_rng(0)
    x = (3 + 2 * rng.normal(size=(8, 2, 3, 5))).astype(np.float32)
    variables = layer.init(KEY, x, False)
    for _ in range(200):
        y, variables = layer.apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(y, layer.apply(variables, x, False), atol=1e-2)
    np.testing.assert_allclose(np.asarray(y).mean((0, 1, 2)), 0, atol=1e-2)
    np.testing.assert_allclose(np.asarray(y).std((0, 1, 2)), 1, atol=1e-2)
    expected, _ = layer.apply(layer.init(KEY, x, False), x, True, mutable=["batch_stats"])
    moments = (1 - MOMENTUM) * x.mean((0, 1, 2)), MOMENTUM + (1 - MOMENTUM) * x.var((0, 1, 2))
    np.testing.assert_allclose(expected, (x - moments[0]) / np.sqrt(moments[1] + FEATURES_EPSILON), rtol=1e-4)
    gradient = jax.grad(lambda x: layer.apply(layer.init(KEY, x, False), x, True, mutable=["batch_stats"])[0].sum())(x)
    np.testing.assert_allclose(
        gradient, np.broadcast_to(1 / np.sqrt(moments[1] + FEATURES_EPSILON), x.shape), rtol=1e-4
    )


def test_g_paints_at_its_own_size_and_the_result_is_upsampled_in_use():
    net = PalGAN(width=TINY, encoder="efficientnet_lite0", paint_stride=2, attention="global")
    l = jax.ShapeDtypeStruct((2, 128, 128, 1), jnp.float32)
    shapes = jax.eval_shape(net.init, KEY, l)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: rng.normal(0, 0.05, leaf.shape).astype(np.float32), dict(shapes))
    variables["batch_stats"] = jax.tree.map(lambda leaf: np.abs(leaf) + 1, variables["batch_stats"])
    picture = jax.random.uniform(KEY, l.shape, minval=-0.5, maxval=0.5)

    def both(variables, l):
        _, c = net.apply(variables, l)
        _, maps = net.bind(variables).palette_generator(l)
        palette, _ = net.bind(variables).palette_generator(l)
        painted = net.bind(variables).assignment_generator(nn.avg_pool(l, (2, 2), (2, 2)), maps, palette)
        return c, painted

    c, painted = jax.jit(both)(variables, picture)
    assert c.shape == (2, 128, 128, 2) and painted.shape == (2, 64, 64, 2)
    np.testing.assert_allclose(c, upsample(painted), atol=1e-4)
    trained, _ = jax.eval_shape(
        lambda v, l: net.apply(v, l, None, True, mutable=["batch_stats", "spectral", CELLS]), variables, l
    )
    assert trained[1].shape == (2, 64, 64, 2)
