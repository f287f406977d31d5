"""Consistency over sizes: the same photograph should get the same colors at other sizes."""

from collections.abc import Sequence
from itertools import combinations

import jax
import jax.numpy as jnp

from palgan_jax.metrics.ab_error import ab_error


def size_consistency(ab_by_size: Sequence[jax.Array]) -> jax.Array:
    """Computes the mean ab difference (B,), in units of Lab, of colorizations of the same pictures at several sizes.

    `ab_by_size`: one (B, H, W, 2) a size, e.g. 256, 512 and 1024, every one a whole multiple of the smallest, to
    which all are brought by averaging. The mean is over pixels and pairs of sizes; 0 where size makes no difference.
    """
    height, width = min(ab.shape[1:3] for ab in ab_by_size)
    if len(ab_by_size) < 2 or any(ab.shape[1] % height or ab.shape[2] % width for ab in ab_by_size):
        raise ValueError(
            f"needs two sizes or more, each a multiple of the smallest, got {[ab.shape[1:3] for ab in ab_by_size]}"
        )
    small = [_averaged(ab, height, width) for ab in ab_by_size]
    pairs = [ab_error(first, second) for first, second in combinations(small, 2)]
    return jnp.mean(jnp.stack(pairs), axis=0)


def _averaged(x: jax.Array, height: int, width: int) -> jax.Array:
    batch, rows, columns, channels = x.shape
    return jnp.mean(x.reshape(batch, height, rows // height, width, columns // width, channels), axis=(2, 4))
