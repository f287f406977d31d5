"""Pools over 3 x 3 pixels, as sums and maxima of shifted pictures.

XLA's own pooling is a scalar loop on CPUs, where these are ten to thirty times as quick; elsewhere they are fused into
one pass. Forward only: where several pixels are the largest, their gradients differ from those of XLA's.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def average_pool(x: jax.Array) -> jax.Array:
    """Averages each pixel and its neighbors, without those outside the picture: (B, H, W, C) to the same."""
    sums = _combine(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), jnp.add, 1)
    rows, columns = (np.convolve(np.ones(n), np.ones(3), "same") for n in x.shape[1:3])
    return sums * jnp.asarray(1 / np.outer(rows, columns), x.dtype)[..., None]


def max_pool(x: jax.Array) -> jax.Array:
    """Takes the largest of each pixel and its neighbors: (B, H, W, C) to the same."""
    return _combine(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf), jnp.maximum, 1)


def halving_max_pool(x: jax.Array) -> jax.Array:
    """Takes the largest of 3 x 3 pixels, at every second one: (B, H, W, C) to (B, (H - 1) // 2, (W - 1) // 2, C)."""
    return _combine(x, jnp.maximum, 2)


def _combine(x: jax.Array, operation: Callable[[jax.Array, jax.Array], jax.Array], stride: int) -> jax.Array:
    """Combines the pixels of all windows of 3 x 3 that fit, every `stride` pixels."""
    for axis in (1, 2):
        reach = (x.shape[axis] - 3) // stride * stride + 1
        first, *parts = (jax.lax.slice_in_dim(x, i, i + reach, stride, axis) for i in range(3))
        x = first
        for part in parts:
            x = operation(x, part)
    return x
