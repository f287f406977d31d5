"""The networks: sizes, shapes, their alternatives, and their parts against slow references."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from palgan_jax.nn import ColorDiscriminator, PaletteAssignmentGenerator, PaletteGenerator, PalGAN
from palgan_jax.nn.attention import ChromaticAttention
from palgan_jax.nn.layers import Conv, leaky_relu, leaky_relu_of_output
from palgan_jax.nn.norms import PalNorm
from palgan_jax.nn.ops import upsampling
from palgan_jax.nn.ops.attention import attend, cut_patches, fold_patches
from palgan_jax.nn.ops.guided_filter import guided_filter, guided_slope
from palgan_jax.nn.ops.local_regression import PIXELS, PLANES, box_sum
from palgan_jax.nn.ops.upsampling import convolve_upsampled, upsample

KEY = jax.random.key(0)
TINY = 1 / 16


def filled(shapes, scale: float = 0.1):
    """Random values for variables of which only the shapes are known: quicker than to compile an initialization."""
    rng = np.random.default_rng(0)
    filled = jax.tree.map(lambda leaf: (scale * rng.normal(size=leaf.shape)).astype(np.float32), dict(shapes))
    # Variances are positive.
    return jax.tree_util.tree_map_with_path(lambda path, x: np.abs(x) + 1 if path[-1].key == "var" else x, filled)


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def pictures(size: int, width: int | None = None, channels: int = 1) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((2, size, width or size, channels), jnp.float32)


def test_parameter_counts_are_those_of_the_method():
    # 21,906,946 with the eight biases that a batch norm cancels, one of each residual block's first convolution, with
    # that of the keys, which a softmax cancels, and with a convolution for the guide.
    canceled = 2 * (512 + 256 + 128 + 64) + 64 + 2 * 64
    params = jax.eval_shape(PalGAN().init, KEY, pictures(256))["params"]
    assert count(params["palette_generator"]) == 2_616_832
    assert count(params) == 21_906_946 - canceled == 21_904_834
    h = jax.ShapeDtypeStruct((2, 256), jnp.float32)
    d = jax.eval_shape(ColorDiscriminator().init, KEY, pictures(256, channels=2), pictures(256, channels=3), h)
    assert count(d["params"]) == 1_045_121


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (128, 192), (256, 256), (512, 512)])
def test_shapes_at_other_resolutions(size):
    (h, ab), variables = jax.eval_shape(lambda l: PalGAN(width=TINY).init_with_output(KEY, l), pictures(*size))
    assert h.shape == (2, 256)
    assert ab.shape == (2, *size, 2)
    head = variables["params"]["palette_generator"]["head"]["kernel"]
    assert head.shape == (16 * (size[0] // 64) * (size[1] // 64), 256)


def test_taps_of_the_palette_generator():
    (h, taps), _ = jax.eval_shape(lambda l: PaletteGenerator().init_with_output(KEY, l), pictures(256))
    assert [tap.shape[1:] for tap in taps] == [(128, 128, 32), (64, 64, 64), (32, 32, 128), (16, 16, 256)]
    assert h.shape == (2, 256)
    ab, _ = jax.eval_shape(lambda *x: PaletteAssignmentGenerator().init_with_output(KEY, *x), pictures(256), taps, h)
    assert ab.shape == (2, 256, 256, 2)


@pytest.mark.parametrize("norm", ["palette", "batch", "spade", "instance"])
@pytest.mark.parametrize("attention", ["full", "global", "local", "none", "self"])
def test_every_norm_with_every_attention(norm, attention):
    net = PalGAN(width=TINY, norm=norm, attention=attention)
    (h, ab), variables = jax.eval_shape(lambda l: net.init_with_output(KEY, l), pictures(64))
    assert (h.shape, ab.shape) == ((2, 256), (2, 64, 64, 2))
    parts = set(variables["params"]["assignment_generator"].get("attention", {}))
    assert (
        parts
        == {
            "full": {"query", "key", "value", "fusion"},
            "global": {"query", "key", "value", "fusion"},
            "local": {"value", "fusion"},
            "none": set(),
            "self": {"query", "key", "value", "fusion", "gain"},
        }[attention]
    )
    assert ("batch_stats" in variables) == (norm != "instance")


@pytest.mark.parametrize("local", ["guided", "guided_without_b", "affine"])
def test_a_convolution_as_guide_has_a_bias_only_where_it_has_an_effect(local):
    net = PalGAN(width=TINY, local=local, guide="convolution")
    params = jax.eval_shape(net.init, KEY, pictures(64))["params"]["assignment_generator"]["attention"]
    assert set(params["guide"]) == ({"kernel", "bias"} if local == "affine" else {"kernel"})
    assert set(params["key"]) == {"kernel"}


@pytest.mark.parametrize(("size", "radius"), [(16, 1), (64, 2), (128, 4), (256, 8)])
def test_windows_of_the_guided_filter_are_as_large_a_part_of_pictures_of_all_sizes(size, radius):
    """`size` is that of F, half that of the picture."""
    l, f = jax.random.normal(KEY, (1, size, size, 1)), jax.random.normal(jax.random.key(1), (1, size, size, 4))
    layer = ChromaticAttention("local", width=TINY, radius=4)
    s = jnp.zeros((1, size // 4, size // 4, 4))
    eye = jnp.eye(4)[None, None]
    variables = {"params": {name: {"kernel": eye, "bias": jnp.zeros(4)} for name in ("value", "fusion")}}
    filtered = layer.apply(variables, s, f, l, False)
    np.testing.assert_allclose(filtered, guided_filter(l, jnp.ones(4), f, radius, 1e-3), atol=1e-5)
    residual = layer.clone(residual=True).apply(variables, s, f, l, False)
    np.testing.assert_allclose(residual, f + filtered, atol=1e-5)


def test_a_small_gamma_is_not_lost_in_bfloat16():
    layer = PalNorm("palette", TINY, dtype=jnp.bfloat16)
    x, h, l = jax.random.normal(KEY, (2, 8, 8, 6)), jnp.full((2, 256), 1 / 256), jnp.zeros((2, 16, 16, 1))
    variables = layer.init(KEY, x, h, l, False)
    params = jax.tree.map(jnp.zeros_like, variables["params"])
    n = layer.apply({**variables, "params": params}, x, h, l, False)
    gamma = jnp.bfloat16(0.9 * 2**-8)
    assert 1 + gamma == 1
    params["gamma"]["bias"] += gamma
    modulated = layer.apply({**variables, "params": params}, x, h, l, False)
    assert float(jnp.mean(modulated != n)) > 0.5
    np.testing.assert_allclose(modulated.astype(jnp.float32), n.astype(jnp.float32) * (1 + float(gamma)), rtol=2**-8)


@pytest.mark.parametrize("norm", ["palette", "spade", "instance", "batch"])
def test_only_the_batch_norm_ignores_the_palette(norm):
    layer = PalNorm(norm, TINY)
    x = jax.random.normal(KEY, (2, 8, 8, 6))
    l, h = jnp.zeros((2, 16, 16, 1)), jax.nn.softmax(jax.random.normal(jax.random.key(1), (2, 256)))
    variables = layer.init(KEY, x, h, l, False)
    variables = {**variables, "params": jax.tree.map(lambda p: p + 0.1, variables["params"])}
    expected = layer.apply(variables, x, h, l, False)
    other = layer.apply(variables, x, h[::-1], l, False)
    assert bool(jnp.allclose(expected, other)) == (norm == "batch")


@pytest.mark.parametrize(("model", "bins"), [("palgan", 256), ("autoencoder", 256), ("vae", 64)])
def test_models(model, bins):
    net = PalGAN(model, bins, TINY)
    l, c = pictures(64), pictures(64, channels=2)
    variables = jax.eval_shape(lambda l, c: net.init(KEY, l, c, method="everything"), l, c)
    code, ab = jax.eval_shape(net.apply, variables, l)
    assert code.shape == (2, bins)
    assert ab.shape == (2, 64, 64, 2)
    if model == "vae":
        mean, log_variance = jax.eval_shape(partial(net.apply, method="posterior"), variables, l, c)
        assert mean.shape == log_variance.shape == (2, bins)


def test_use_predicted_takes_the_predicted_palette_where_it_is_marked():
    net = PalGAN(width=TINY, attention="none")
    l = jax.random.normal(KEY, (2, 64, 64, 1)) * 0.3
    given_palette = jnp.eye(256)[:2]

    @jax.jit
    def paint(variables):
        _, automatic = net.apply(variables, l)
        _, painted = net.apply(variables, l, given_palette)
        _, mixed = net.apply(variables, l, given_palette, False, jnp.array([True, False]))
        return automatic, painted, mixed

    automatic, painted, mixed = paint(filled(jax.eval_shape(net.init, KEY, l)))
    np.testing.assert_allclose(mixed[0], automatic[0], atol=1e-5)
    np.testing.assert_allclose(mixed[1], painted[1], atol=1e-5)
    assert float(jnp.abs(automatic - painted).max()) > 1e-3


@pytest.mark.parametrize(("normalize", "total"), [(True, 1.0), (False, 256 / (1 + np.exp(5.5)))])
def test_a_new_palette_generator_predicts_an_even_palette(normalize, total):
    net = PaletteGenerator(width=TINY, normalize=normalize)
    l = jax.random.normal(KEY, (2, 64, 64, 1)) * 0.3
    h, _ = net.apply(jax.jit(net.init)(KEY, l), l)
    np.testing.assert_allclose(h.sum(-1), total, rtol=0.02)
    assert float(h.max() / h.min()) < 1.5


def test_the_init_of_the_palette_generator_keeps_or_loses_the_signal():
    l = jax.random.normal(KEY, (2, 64, 64, 1)) * 0.3
    last = {}
    for kernel_init in ("he", "xavier"):
        net = PaletteGenerator(width=TINY, kernel_init=kernel_init)
        _, taps = net.apply(jax.jit(net.init)(KEY, l), l)
        last[kernel_init] = float(jnp.std(taps[-1]))
    assert last["he"] > 0.05
    assert last["xavier"] < 1e-5


def test_the_patch_discriminator_gives_a_map_and_does_not_look_at_the_palette():
    net = ColorDiscriminator(TINY, "patch")
    c, rgb = jax.random.normal(KEY, (2, 64, 64, 2)), jax.random.normal(KEY, (2, 64, 64, 3))
    h = jnp.eye(256)[:2]
    variables = filled(jax.eval_shape(net.init, KEY, c, rgb, h))
    logits = net.apply(variables, c, rgb, h)
    assert logits.shape == (2, 6, 6)
    np.testing.assert_array_equal(logits, net.apply(variables, c, rgb, h[::-1]))


def test_the_projection_discriminator_looks_at_the_palette():
    net = ColorDiscriminator(TINY)
    c, rgb = jax.random.normal(KEY, (2, 64, 64, 2)), jax.random.normal(KEY, (2, 64, 64, 3))
    h = jnp.eye(256)[:2]
    variables = filled(jax.eval_shape(net.init, KEY, c, rgb, h))
    logits = net.apply(variables, c, rgb, h)
    assert logits.shape == (2,)
    assert float(jnp.abs(logits - net.apply(variables, c, rgb, h[::-1])).max()) > 1e-6


def test_the_projection_is_on_a_palette_of_length_one():
    c, rgb, h = jnp.zeros((2, 64, 64, 2)), jnp.zeros((2, 64, 64, 3)), jax.nn.softmax(jax.random.normal(KEY, (2, 256)))
    logits = {}
    for palette in ("unit", "sqrt", "plain"):
        net = ColorDiscriminator(TINY, palette=palette)
        variables = filled(jax.eval_shape(net.init, KEY, c, rgb, h))
        unconditional, plain, tripled = (net.apply(variables, c, rgb, palette) for palette in (0 * h, h, 3 * h))
        logits[palette] = plain - unconditional
        factor = {"unit": 1, "sqrt": 3**0.5, "plain": 3}[palette]
        np.testing.assert_allclose(tripled - unconditional, factor * logits[palette], rtol=1e-3, atol=1e-4)
    length = jnp.linalg.norm(h, axis=-1)
    np.testing.assert_allclose(logits["plain"], logits["unit"] * length, rtol=1e-3, atol=1e-4)


def test_spectral_norm_finds_the_largest_singular_value():
    conv = Conv(6, spectral=True, use_bias=False)
    x = jax.random.normal(KEY, (1, 8, 8, 3))
    variables = conv.init(KEY, x)
    kernel = variables["params"]["kernel"]
    for _ in range(50):
        _, updates = conv.apply(variables, x, True, mutable=["spectral"])
        variables = {**variables, **updates}
    largest = np.linalg.svd(np.asarray(kernel).reshape(-1, 6), compute_uv=False)[0]
    plain = Conv(6, use_bias=False).apply({"params": {"kernel": kernel / largest}}, x)
    np.testing.assert_allclose(conv.apply(variables, x), plain, rtol=1e-3, atol=1e-5)
    # In use the vector is looked at, not changed.
    _, state = conv.apply(variables, x, False, mutable=["spectral"])
    np.testing.assert_array_equal(state["spectral"]["u"], variables["spectral"]["u"])


def test_the_leaky_relu_of_what_is_kept_differentiates_as_the_other():
    x = jnp.array([-2.0, -1e-3, 0.0, 1e-3, 3.0])
    for function in (lambda f: jax.vmap(f)(x), lambda f: jax.vmap(jax.grad(f))(x)):
        np.testing.assert_array_equal(function(leaky_relu_of_output), function(leaky_relu))


def slow_windows(x: np.ndarray, radius: int):
    """Each pixel's window, cut at the borders."""
    height, width = x.shape[:2]
    for i in range(height):
        for j in range(width):
            rows = slice(max(i - radius, 0), i + radius + 1)
            yield i, j, rows, slice(max(j - radius, 0), j + radius + 1)


@settings(max_examples=10)
@given(st.integers(5, 9), st.integers(5, 9), st.integers(0, 4), st.integers(0, 100))
def test_box_sum(height, width, radius, seed):
    x = np.random.default_rng(seed).normal(size=(2, 3, height, width)).astype(np.float32)
    expected = np.empty_like(x)
    for i, j, rows, columns in slow_windows(x[0, 0], radius):
        expected[..., i, j] = x[..., rows, columns].sum((2, 3))
    np.testing.assert_allclose(box_sum(x, radius, PLANES), expected, atol=1e-5)
    result = box_sum(np.moveaxis(x, 1, -1), radius, PIXELS)
    np.testing.assert_allclose(result, np.moveaxis(expected, 1, -1), atol=1e-5)


@pytest.mark.usefixtures("each_platform")
@pytest.mark.parametrize("with_b", [True, False])
def test_guided_filter_is_the_mean_of_ridge_regressions(with_b):
    rng = np.random.default_rng(0)
    l, x = rng.normal(size=(1, 9, 8, 1)).astype(np.float32), rng.normal(size=(1, 9, 8, 2)).astype(np.float32)
    scale, offset = np.array([0.7, -1.3], np.float32), np.array([0.2, 0.5], np.float32)
    guide = scale * l + offset
    radius, eps = 2, 1e-2
    a, b = np.empty_like(x), np.empty_like(x)
    for channel in range(2):
        for i, j, rows, columns in slow_windows(x[0], radius):
            g, y = guide[0, rows, columns, channel].ravel(), x[0, rows, columns, channel].ravel()
            # Ridge regression of y in g with an offset: minimizes the mean of (a g + b - y)^2 + eps a^2.
            design = np.stack([g, np.ones_like(g)], axis=1)
            solution = np.linalg.solve(design.T @ design + g.size * np.diag([eps, 0]), design.T @ y)
            a[0, i, j, channel], b[0, i, j, channel] = solution
    expected = np.empty_like(x)
    for i, j, rows, columns in slow_windows(x[0], radius):
        expected[0, i, j] = a[0, rows, columns].mean((0, 1)) * guide[0, i, j]
        if with_b:
            expected[0, i, j] += b[0, rows, columns].mean((0, 1))
    result = guided_filter(l, scale, x, radius, eps) if with_b else guided_slope(l, scale, x, radius, eps) * guide
    np.testing.assert_allclose(result, expected, atol=2e-4)


@pytest.mark.usefixtures("each_platform")
def test_the_guided_filter_differentiates_as_it_filters():
    rng = np.random.default_rng(0)
    l, x, scale = (rng.normal(size=s).astype(np.float32) for s in ((2, 7, 6, 1), (2, 7, 6, 3), (3,)))
    check_grads(lambda *x: guided_filter(*x, 2, 0.1), (l, scale, x), order=1, modes=["rev"], atol=1e-2)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=10)
def test_patches_fold_back(batch, rows, columns, channels):
    x = np.random.default_rng(0).normal(size=(batch, 4 * rows, 4 * columns, channels))
    patches = cut_patches(jnp.asarray(x))
    assert patches.shape == (batch, rows * columns, 16 * channels)
    np.testing.assert_array_equal(fold_patches(patches, 4 * rows, 4 * columns), x.astype(np.float32))
    # Patch n is the square in row n // columns, column n % columns.
    np.testing.assert_array_equal(
        np.asarray(patches)[0, columns - 1].reshape(4, 4, channels), x[0, :4, -4:].astype(np.float32)
    )


def test_attend_is_a_softmax_weighted_mean():
    q, k = (np.random.default_rng(s).normal(size=(1, 5, 4)) for s in (0, 1))
    v = np.random.default_rng(2).normal(size=(1, 5, 3))
    scores = np.exp(q[0] @ k[0].T / 2)
    expected = scores / scores.sum(1, keepdims=True) @ v[0]
    np.testing.assert_allclose(attend(*map(jnp.asarray, (q, k, v)))[0], expected, atol=1e-5)


def test_upsample_is_bilinear_with_half_pixel_centers():
    x = jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(upsample(x)[0, 0, :, 0], [0, 1, 3, 4], atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (2, 3), (6, 4)])
def test_all_devices_upsample_the_same(height, width):
    rng = np.random.default_rng(0)
    x, g = (jnp.asarray(rng.normal(size=(2, n * height, n * width, 3)), jnp.float32) for n in (1, 2))
    expected, pull_back = jax.vjp(upsampling._upsample_by_products, x)
    for other in (upsampling._upsample_by_convolution, upsampling._upsample_by_sums):
        result, other_pull_back = jax.vjp(other, x)
        np.testing.assert_allclose(result, expected, atol=1e-6)
        np.testing.assert_allclose(other_pull_back(g)[0], pull_back(g)[0], atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (2, 3), (6, 4)])
def test_a_convolution_of_the_upsampled_picture_without_making_it(height, width):
    rng = np.random.default_rng(0)
    x, kernel = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((2, height, width, 3), (3, 3, 3, 2)))
    expected = jax.lax.conv_general_dilated(
        upsample(x), kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(convolve_upsampled(x, kernel), expected, atol=1e-5)


def test_bfloat16_stays_close_to_float32():
    l = jax.random.normal(KEY, (2, 64, 64, 1)) * 0.3
    variables = filled(jax.eval_shape(PalGAN(width=TINY).init, KEY, l))
    h, ab = jax.jit(PalGAN(width=TINY).apply)(variables, l)
    h16, ab16 = jax.jit(PalGAN(width=TINY, dtype=jnp.bfloat16).apply)(variables, l)
    assert h16.dtype == ab16.dtype == jnp.float32
    np.testing.assert_allclose(h16, h, atol=1e-4)
    np.testing.assert_allclose(ab16, ab, atol=0.05)
