"""Arrays that programs for the CPU compute once.

On the CPU, XLA fuses the computation of an array into each operation that reads it: if these read slices of it, it is
computed anew for each slice. Barriers of `jax.lax` are removed before fusion; a call that must not be inlined is not.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata


def noinline(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Calls function(*arguments, **options) in a call that XLA does not inline. Options are static."""
    with set_xla_metadata(inlineable="false"):
        return jax.jit(function, static_argnames=tuple(options))(*arguments, **options)


def padded(x: jax.Array, *pads: tuple[int, int]) -> jax.Array:
    """Pads x with zeros: so many before and after on each axis."""
    return noinline(jnp.pad, x, pad_width=pads)


def correlate(x: jax.Array, weights: np.ndarray, axis: int, step: int = 1) -> jax.Array:
    """Computes the valid 1-D correlation with `weights` along `axis`, dilated by `step`."""
    return noinline(_correlate, x, weights=tuple(weights.tolist()), axis=axis, step=step)


def _correlate(x: jax.Array, *, weights: tuple[float, ...], axis: int, step: int) -> jax.Array:
    size = x.shape[axis] - (len(weights) - 1) * step
    slices = (jax.lax.slice_in_dim(x, i * step, i * step + size, 1, axis) for i in range(len(weights)))
    first, *rest = [part * weight for part, weight in zip(slices, weights, strict=True)]
    return sum(rest, first)
