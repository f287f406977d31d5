"""Bilinear upsampling, and a convolution of what it would give."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.nn.ops.columns import Picture, packed_columns, stored
from palgan_jax.nn.ops.cpu.noinline import padded


def upsample(x: jax.Array) -> jax.Array:
    """Doubles height and width bilinearly: (B, H, W, C) to (B, 2H, 2W, C).

    On a TPU as a transposed convolution of each channel, on a CPU as sums of shifted pictures: neither needs the
    intermediate picture nor the copies into other layouts that the two matrix products of `jax.image.resize` do.
    """
    return jax.lax.platform_dependent(
        x, tpu=_upsample_by_convolution, cpu=_upsample_by_sums, default=_upsample_by_products
    )


def _upsample_by_products(x: jax.Array) -> jax.Array:
    batch, height, width, channels = x.shape
    return jax.image.resize(x, (batch, 2 * height, 2 * width, channels), "linear")


def _upsample_by_convolution(x: jax.Array) -> jax.Array:
    _, height, width, channels = x.shape
    tent = np.array([0.25, 0.75, 0.75, 0.25])
    kernel = np.broadcast_to(np.outer(tent, tent)[..., None, None], (4, 4, 1, channels))
    y = jax.lax.conv_general_dilated(
        x,
        jnp.asarray(kernel, x.dtype),
        (1, 1),
        ((2, 2), (2, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )
    # Beyond the edge there are zeros, which take a quarter of the weight: to take it back needs no larger picture.
    rows, columns = (_without_zeros(2 * size) for size in (height, width))
    return (y.astype(jnp.float32) * np.outer(rows, columns)[..., None].astype(np.float32)).astype(x.dtype)


def _without_zeros(size: int) -> np.ndarray:
    weight = np.ones(size)
    weight[[0, -1]] = 4 / 3
    return weight


@jax.custom_vjp
def _upsample_by_sums(x: jax.Array) -> jax.Array:
    height, width = x.shape[1:3]
    x, dtype = padded(x, (0, 0), (1, 1), (1, 1), (0, 0)), x.dtype
    y: Any = 0.0
    for i, by_row in enumerate(_weights_of_neighbors(height)):
        for j, by_column in enumerate(_weights_of_neighbors(width)):
            weight = by_row[:, :, None, None, None] * by_column[:, :, None]  # (H, 2, W, 2, 1)
            y += weight * x[:, i : i + height, None, j : j + width, None].astype(jnp.float32)
    return y.reshape(-1, 2 * height, 2 * width, x.shape[-1]).astype(dtype)


def _upsample_transposed(_: Any, g: jax.Array) -> tuple[jax.Array]:
    height, width = g.shape[1:3]
    neighborhood = padded(g, (0, 0), (1, 1), (1, 1), (0, 0))
    x: Any = 0.0
    for j, by_column in enumerate(_weights_in_neighbors(width // 2)):
        for i, by_row in enumerate(_weights_in_neighbors(height // 2)):
            weight = by_row[:, None, None] * by_column[:, None]  # (H, W, 1)
            x += weight * neighborhood[:, i : i + height : 2, j : j + width : 2].astype(jnp.float32)
    return (x.astype(g.dtype),)


_upsample_by_sums.defvjp(lambda x: (_upsample_by_sums(x), None), _upsample_transposed)


def _weights_of_neighbors(size: int) -> np.ndarray:
    """Returns the weights (3, N, 2) of pixels n - 1, n, n + 1 in pixels 2n and 2n + 1 of the doubled axis."""
    weights = np.zeros((3, size, 2), np.float32)
    weights[0, 1:, 0] = weights[2, :-1, 1] = 0.25
    weights[1] = 1 - weights[0] - weights[2]
    return weights


def _weights_in_neighbors(size: int) -> np.ndarray:
    """Returns the weights (4, N) of pixel n in pixels 2n - 1 to 2n + 2 of the doubled axis."""
    previous, center, following = _weights_of_neighbors(size)
    zero = np.zeros(1, np.float32)
    return np.stack([np.append(zero, following[:-1, 1]), center[:, 0], center[:, 1], np.append(previous[1:, 0], zero)])


def convolve_upsampled(x: Picture, kernel: jax.Array) -> jax.Array:
    """Convolves `upsample(x)` without computing it: x (B, H, W, C), kernel (3, 3, C, D), to (B, 2H, 2W, D), float32.

    For few D. Interpolation acts on pixels alone and the matrix of a tap on channels alone, so the products with the
    taps come first, on the small picture; they are interpolated and shifted by their tap along one axis, summed, and so
    along the other. The result is not packed.
    """
    *taps, channels, features = kernel.shape
    products = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)  # (C, 9 D)
    if (n := packed_columns(x)) > 1:
        products = jax.scipy.linalg.block_diag(*[products] * n)
    y = jnp.matmul(stored(x), products, preferred_element_type=jnp.float32)
    y = y.reshape(*x.shape[:3], *taps, features)  # (B, H, W, 3, 3, D)
    half = jnp.einsum("vwx,bhwyxd->bhvyd", _interpolate_and_shift(x.shape[2]), y)  # (B, H, 2W, 3, D)
    return jnp.einsum("uhy,bhvyd->buvd", _interpolate_and_shift(x.shape[1]), half)


def _interpolate_and_shift(size: int) -> np.ndarray:
    """Returns the weights (2N, N, 3) of pixel n in pixel m + tap - 1 of the doubled axis, 0 beyond its ends."""
    doubled = np.arange(-1, 2 * size + 1)
    place = np.clip((doubled - 0.5) / 2, 0, size - 1)
    weight = np.maximum(1 - np.abs(place[:, None] - np.arange(size)), 0)  # (2N + 2, N)
    weight[[0, -1]] = 0
    return np.stack([weight[tap : tap + 2 * size] for tap in range(3)], axis=-1).astype(np.float32)


def resize(x: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes (B, H, W, C) to (B, height, width, C) bilinearly, antialiased where it shrinks."""
    return jax.image.resize(x, (x.shape[0], height, width, x.shape[-1]), "linear")
