"""Peak signal-to-noise ratio."""

import jax
import jax.numpy as jnp


def psnr(predicted: jax.Array, truth: jax.Array) -> jax.Array:
    """Computes PSNR in dB over all pixels and channels of each picture: sRGB (B, H, W, 3) in [0, 255] to (B,).

    Equal pictures give 100 dB, so that means stay finite.
    """
    # Differences of bytes would wrap.
    predicted, truth = predicted.astype(jnp.float32), truth.astype(jnp.float32)
    error = jnp.mean((predicted - truth) ** 2, axis=(1, 2, 3))
    return 10 * jnp.log10(255.0**2 / jnp.maximum(error, 255.0**2 * 1e-10))
