"""Joining luminance with predicted color within programs of JAX, as `colorize.join` does it on the host."""

import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.color import gamut_share, lab_to_rgb, rgb_to_bytes
from palgan_jax.colorize.edges import BLUR, SLIGHT, window_radius
from palgan_jax.nn.ops.local_regression import HIGHEST, regression_slope


def resize_square(x: jax.Array, side: int, method: str = "linear") -> jax.Array:
    """Resizes (B, S, S, C) to (B, side, side, C), antialiased, as Pillow does it to pictures of floats."""
    if x.shape[1] == side:
        return x
    return jax.image.resize(x, (x.shape[0], side, side, x.shape[3]), method, antialias=True)


def join_batch(luminance: jax.Array, ab: jax.Array) -> jax.Array:
    """Joins L (B, S, S) and ab (B, S, S, 2) to sRGB uint8 (B, S, S, 3), by the chroma that is in gamut."""
    lab = jnp.concatenate([luminance[..., None], ab], axis=-1)
    return rgb_to_bytes(lab_to_rgb(jnp.concatenate([lab[..., :1], ab * gamut_share(lab)[..., None]], axis=-1)))


def join_painting(luminance: jax.Array, small: jax.Array, ab: jax.Array) -> jax.Array:
    """Joins L (B, S, S) and a painting of the L that was shrunk, (B, R, R), as `colorize.join.join` does it.

    Returns sRGB uint8 (B, S, S, 3). ab: (B, R, R, 2).
    """
    offset, slope = (resize_square(x, luminance.shape[1], "cubic") for x in along_edges(small, ab))  # (B, S, S, 2)
    return join_batch(luminance, offset + slope * luminance[..., None])


def along_edges(lightness: jax.Array, ab: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns offset and slope (B, H, W, 2) for L (B, H, W) and ab (B, H, W, 2), as `colorize.edges.Guide`."""
    height, width = lightness.shape[1:]
    blurred = jnp.einsum("ih,jw,bhw->bij", _blur_matrix(height), _blur_matrix(width), lightness, precision=HIGHEST)
    blurred = blurred[..., None]  # (B, H, W, 1)
    slope = regression_slope(blurred, jnp.ones(2), ab, window_radius(height), SLIGHT)
    return ab - slope * blurred, slope


def _blur_matrix(size: int) -> np.ndarray:
    """Returns (N, N), whose row i holds the weights of an axis's pixels around i: Gaussian, with a sum of 1."""
    place = np.arange(size) / (BLUR * size)
    weights = np.exp(-0.5 * (place[:, None] - place) ** 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
