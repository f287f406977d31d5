"""Change of luminance: a colorizer should keep that of the photograph."""

import jax
import jax.numpy as jnp

from palgan_jax.color import bytes_to_lab


def luminance_error(predicted: jax.Array, photograph: jax.Array) -> jax.Array:
    """Computes the largest |L_out - L_in| (B,), in units of L (0 to 100), of sRGB (B, H, W, 3) in [0, 255].

    `photograph`: the one that was colorized, gray or with its true colors. Rounding to 8 bits alone gives about
    0.25, and colors out of gamut, where they are clamped, much more.
    """
    difference = bytes_to_lab(predicted)[..., 0] - bytes_to_lab(photograph)[..., 0]
    return jnp.max(jnp.abs(difference), axis=(1, 2))
