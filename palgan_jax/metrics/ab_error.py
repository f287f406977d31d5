"""The color error alone: how far a and b are off."""

import jax
import jax.numpy as jnp


def ab_error(predicted: jax.Array, truth: jax.Array) -> jax.Array:
    """Computes the mean Euclidean distance (B,) in the ab plane, in units of Lab, of ab (B, H, W, 2) each."""
    squared = jnp.sum((predicted - truth) ** 2, axis=-1)
    return jnp.mean(jnp.sqrt(squared), axis=(1, 2))
