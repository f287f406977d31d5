"""Structural similarity (Wang et al., 2004)."""

import jax
import jax.numpy as jnp
import numpy as np

WINDOW = 11
SIGMA = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def _window() -> np.ndarray:
    """The Gaussian along one axis, (11,), sum 1."""
    x = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (x / SIGMA) ** 2)
    return weights / weights.sum()


def _local_mean(x: jax.Array) -> jax.Array:
    """(B, H, W, C) -> (B, H - 10, W - 10, C): Gaussian means where the whole window lies in the picture."""
    # A sum of shifted slices: exact float32 on every device, where a convolution's default precision may be less.
    height, width = x.shape[1] - WINDOW + 1, x.shape[2] - WINDOW + 1
    weights = _window()
    x = sum((float(w) * x[:, i : i + height] for i, w in enumerate(weights)), jnp.zeros((), x.dtype))
    return sum((float(w) * x[:, :, i : i + width] for i, w in enumerate(weights)), jnp.zeros((), x.dtype))


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
    var_x, var_y = _local_mean(x * x) - mean_x**2, _local_mean(y * y) - mean_y**2
    covariance = _local_mean(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + shift, mean_y + shift
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (var_x + var_y + _C2)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))
