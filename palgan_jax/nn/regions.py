"""The palettes of parts of a picture in the networks (method: section 13)."""

import jax
import jax.numpy as jnp

from palgan_jax.nn.ops.upsampling import resize
from palgan_jax.palette.regions import Regions


def palettes_of(h: jax.Array | Regions) -> jax.Array:
    """Returns the palette (B, K), or those of all regions (B, N, K)."""
    return h.palettes if isinstance(h, Regions) else h


def spread(values: jax.Array, h: jax.Array | Regions, height: int, width: int) -> jax.Array:
    """Spreads what was computed of each palette over a picture of height x width pixels.

    values (B, C) of one palette become (B, 1, 1, C), and those of regions (B, N, C) become (B, height, width, C): the
    mean by the shares of the regions at each pixel.
    """
    if not isinstance(h, Regions):
        return values[:, None, None]
    shares = resize(h.shares, height, width).astype(values.dtype)  # (B, height, width, N)
    return jnp.einsum("bhwn,bnc->bhwc", shares, values)
