"""Structural similarity (Wang et al., 2004)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.nn.ops.cpu.noinline import correlate, noinline

WINDOW = 11
SIGMA = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def _weights() -> np.ndarray:
    x = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (x / SIGMA) ** 2)
    return (weights / weights.sum()).astype(np.float32)


# Local means, (B, H, W, C) -> (B, H - 10, W - 10, C): no convolutions, which are slow with so few channels.


def _mean_by_sums(x: jax.Array) -> jax.Array:
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width * channels)  # long rows
    for axis, step in ((1, 1), (2, channels)):
        x = correlate(x, _weights(), axis, step)
    return x.reshape(batch, height - WINDOW + 1, width - WINDOW + 1, channels)


def _mean_by_products(x: jax.Array) -> jax.Array:
    """Computes them as products with matrices that are nearly all zeros."""
    precision = jax.lax.Precision.HIGHEST
    x = jnp.einsum("ij,bjwc->biwc", _window(x.shape[1]), x, precision=precision)
    return jnp.einsum("ij,bhjc->bhic", _window(x.shape[2]), x, precision=precision)


def _window(size: int) -> np.ndarray:
    """Returns the matrix (size - 10, size) that takes Gaussian means along an axis, wherever the whole window fits."""
    row = np.pad(_weights(), (0, size - WINDOW))
    return np.stack([np.roll(row, i) for i in range(size - WINDOW + 1)])


def ssim(predicted: jax.Array, truth: jax.Array) -> jax.Array:
    """Computes SSIM (B,) in [-1, 1], 1 for equal pictures, of sRGB (B, H, W, 3) in [0, 255]; H and W at least 11.

    As the authors define it: Gaussian window 11 x 11 with sigma 1.5, K1 0.01, K2 0.03, data range 255, the region
    where the window fits. Computed for each channel and averaged over pixels and channels. The same number as
    scikit-image's with gaussian_weights=True, sigma=1.5, use_sample_covariance=False.
    """
    x, y = jnp.asarray(predicted, jnp.float32), jnp.asarray(truth, jnp.float32)
    if min(x.shape[1:3]) < WINDOW:
        raise ValueError(f"SSIM needs pictures of at least {WINDOW} x {WINDOW}, got {x.shape[1]} x {x.shape[2]}")
    # Variances do not change with a shift, and squares of small numbers lose fewer bits.
    shift = jnp.mean(y, axis=(1, 2), keepdims=True)  # (B, 1, 1, 3)
    x, y = x - shift, y - shift
    values = jax.lax.platform_dependent(
        x,
        y,
        shift,
        cpu=partial(noinline, _similarity, local_mean=_mean_by_sums),
        default=partial(_similarity, local_mean=_mean_by_products),
    )
    return jnp.mean(values, axis=(1, 2, 3))


def _similarity(x: jax.Array, y: jax.Array, shift: jax.Array, *, local_mean: Callable[[jax.Array], jax.Array]) -> Any:
    """Computes the similarity of each pixel and channel, (B, H - 10, W - 10, 3), of pictures less `shift`."""
    mean_x, mean_y = local_mean(x), local_mean(y)
    variances = local_mean(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + shift, mean_y + shift
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (variances + _C2)
    return luminance * structure
