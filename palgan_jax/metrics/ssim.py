"""Structural similarity (Wang et al., 2004)."""

import jax
import jax.numpy as jnp
import numpy as np

WINDOW = 11
SIGMA = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def _window(size: int) -> np.ndarray:
    """(size - 10, size): the matrix that takes Gaussian means along an axis, wherever the whole window fits."""
    x = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (x / SIGMA) ** 2)
    rows = [np.roll(np.pad(weights / weights.sum(), (0, size - WINDOW)), i) for i in range(size - WINDOW + 1)]
    return np.stack(rows).astype(np.float32)


def _local_mean(x: jax.Array) -> jax.Array:
    """(B, H, W, C) -> (B, H - 10, W - 10, C)."""
    # Products with a matrix that is nearly all zeros: quicker than any convolution of so few channels, on all devices.
    exact = jax.lax.Precision.HIGHEST
    x = jnp.einsum("ij,bjwc->biwc", _window(x.shape[1]), x, precision=exact)
    return jnp.einsum("ij,bhjc->bhic", _window(x.shape[2]), x, precision=exact)


def ssim(predicted: jax.Array, truth: jax.Array) -> jax.Array:
    """SSIM (B,) in [-1, 1], 1 for equal pictures, of sRGB (B, H, W, 3) in [0, 255]; H and W at least 11.

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
    mean_x, mean_y = _local_mean(x), _local_mean(y)  # (B, H - 10, W - 10, 3)
    variances = _local_mean(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = _local_mean(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + shift, mean_y + shift
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (variances + _C2)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))
