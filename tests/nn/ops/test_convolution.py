"""Convolutions as matrix products: equal to XLA's on the CPU, and XLA's own everywhere else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from palgan_jax.nn.ops.convolution import convolve
from palgan_jax.nn.ops.cpu.noinline import noinline

# (picture, kernel): sizes that tiles do and do not divide, one and several pictures, all kinds of kernels
KINDS = {
    "1 x 1": ((2, 24, 25, 12), (1, 1, 12, 40)),
    "kernel's gradient": ((4, 16, 16, 72), (3, 3, 72, 64)),
    "tiles of 2": ((5, 15, 14, 128), (3, 3, 128, 130)),
    "a row of 3": ((2, 18, 17, 128), (1, 3, 128, 128)),
    "a column of 7": ((2, 17, 18, 128), (7, 1, 128, 130)),
    "tiles of 4": ((1, 31, 34, 136), (3, 3, 136, 128)),
    "few channels on one side": ((2, 20, 21, 50), (3, 3, 50, 66)),
    "large": ((1, 101, 104, 64), (3, 3, 64, 72)),
    "5 x 5": ((2, 17, 19, 72), (5, 5, 72, 64)),
}


def xla(x, kernel, padding):
    pads = [(pad, pad) for pad in padding]
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def ours(x, kernel, padding):
    return convolve(x, kernel, 1, padding)


def draw(shapes):
    random = np.random.default_rng(0)
    x, kernel = (random.standard_normal(shape, dtype=np.float32) for shape in shapes)
    return x, kernel / np.float32(np.sqrt(kernel[..., 0].size))


def value_and_gradients(convolution, x, kernel, g):
    """One program of all, with every gradient in it."""
    padding = (kernel.shape[0] // 2, kernel.shape[1] // 2)

    def run(x, kernel, g):
        y, pull_back = jax.vjp(lambda x, kernel: convolution(x, kernel, padding), x, kernel)
        return y, *pull_back(g)

    return jax.jit(run), (x, kernel, g)


@pytest.fixture(scope="module", params=KINDS)
def both(request):
    """Values and gradients of ours, and in float64 by NumPy."""
    x, kernel = draw(KINDS[request.param])
    g = np.random.default_rng(1).standard_normal((*x.shape[:3], kernel.shape[3]), dtype=np.float32)
    run, arguments = value_and_gradients(ours, x, kernel, g)
    return run(*arguments), exact(x, kernel, g)


def exact(x, kernel, g):
    x, kernel, g = (array.astype(np.float64) for array in (x, kernel, g))
    (rows, columns), (_, height, width, _) = kernel.shape[:2], x.shape
    down, right = rows // 2, columns // 2
    padded = np.pad(x, ((0, 0), (down, down), (right, right), (0, 0)))
    y, by_picture, by_kernel = np.zeros(g.shape), np.zeros_like(padded), np.zeros_like(kernel)
    for i, j in np.ndindex(rows, columns):
        window = (slice(None), slice(i, i + height), slice(j, j + width))
        y += padded[window] @ kernel[i, j]
        by_picture[window] += g @ kernel[i, j].T
        by_kernel[i, j] = np.tensordot(padded[window], g, ((0, 1, 2), (0, 1, 2)))
    return y, by_picture[:, down : down + height, right : right + width], by_kernel


@pytest.mark.parametrize("part", [0, 1, 2], ids=["value", "picture's gradient", "kernel's gradient"])
def test_equals_the_sum_over_taps_in_float64(both, part):
    gradient, expected = both[0][part], both[1][part]
    assert gradient.shape == expected.shape and gradient.dtype == jnp.float32
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("kind", KINDS)
def test_programs_of_other_devices_are_those_of_a_plain_convolution(kind, platform):
    x, kernel = draw(KINDS[kind])
    g = np.zeros((*x.shape[:3], kernel.shape[3]), np.float32)

    def text(convolution, platform):
        def exactly(x, kernel, padding):
            with jax.default_matmul_precision("highest"):
                return convolution(x, kernel, padding)

        run, arguments = value_and_gradients(exactly, x, kernel, g)
        return run.trace(*arguments).lower(lowering_platforms=(platform,)).as_text()

    assert text(ours, platform) == text(xla, platform)
    assert text(xla, platform).count("HIGHEST") == 6, "the value and both gradients, two factors each"
    assert text(ours, "cpu") != text(xla, "cpu"), "nothing is different on the CPU either"


@pytest.mark.parametrize(
    ("shapes", "dtype", "stride", "padding"),
    [
        (((1, 8, 8, 128), (3, 3, 128, 128)), jnp.float32, 1, 1),
        (((4, 32, 32, 8), (3, 3, 8, 8)), jnp.float32, 1, 1),
        (((4, 32, 32, 128), (3, 3, 128, 128)), jnp.bfloat16, 1, 1),
        (((1, 128, 128, 32), (3, 3, 32, 64)), jnp.float32, 2, 1),
        (((4, 32, 32, 128), (3, 3, 128, 128)), jnp.float32, 1, 0),
        (((4, 32, 32, 128), (4, 4, 128, 128)), jnp.float32, 1, 1),
    ],
    ids=["few pixels", "few channels", "bfloat16", "large at stride 2", "no padding", "4 x 4"],
)
def test_what_gains_nothing_is_left_to_xla(shapes, dtype, stride, padding):
    arguments = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
    lowered = jax.jit(lambda x, kernel: convolve(x, kernel, stride, padding)).lower(*arguments).as_text()
    assert lowered.count("stablehlo.convolution") == 1 and "dot_general" not in lowered


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("shapes", [((2, 33, 34, 3), (3, 3, 3, 20)), ((2, 24, 21, 40), (3, 3, 40, 24))])
def test_patches_at_every_second_pixel(shapes, padding):
    x, kernel = draw(shapes)

    def run(convolution):
        y, pull_back = jax.vjp(convolution, x, kernel)
        return y, *pull_back(jnp.cos(y))

    def plain(x, kernel):
        pads = ((padding, padding),) * 2
        return jax.lax.conv_general_dilated(x, kernel, (2, 2), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def patches(x, kernel):
        return convolve(x, kernel, 2, padding)

    for gradient, expected in zip(
        jax.jit(run, static_argnums=0)(patches), jax.jit(run, static_argnums=0)(plain), strict=True
    ):
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    lowered = [jax.jit(f).trace(x, kernel).lower(lowering_platforms=("tpu",)).as_text() for f in (patches, plain)]
    assert lowered[0].replace("jit_patches", "") == lowered[1].replace("jit_plain", "")
    assert "dot_general" in jax.jit(patches).lower(x, kernel).as_text()


def test_what_is_kept_is_a_call_in_the_compiled_program():
    x = jnp.ones((2, 9, 9, 3))
    for function, calls in ((lambda x: noinline(jnp.tanh, x), 1), (jnp.tanh, 0)):
        compiled = jax.jit(lambda x, function=function: function(x)[:, 1:] + function(x)[:, :-1]).lower(x).compile()
        assert (compiled.as_text().count(" call(") >= 1) == bool(calls)


def test_pictures_may_lie_on_several_devices():
    x, kernel = draw(((8, 12, 12, 128), (3, 3, 128, 128)))
    split = NamedSharding(Mesh(np.array(jax.devices()), "data"), PartitionSpec("data"))
    y = jax.jit(lambda x, kernel: convolve(x, kernel, 1, 1), out_shardings=split)(jax.device_put(x, split), kernel)
    np.testing.assert_allclose(y, xla(x, kernel, (1, 1)), rtol=0, atol=1e-4)
