"""What XLA computes once and keeps, in programs for the CPU.

On the CPU, XLA fuses the computation of an array into each of its readers: where they read it through slices, it is
computed anew for each slice. Barriers of `jax.lax` are gone before that happens; a call that is not to be inlined is
not.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata


def kept(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """function(*arguments, **options) as a call of its own, whose arguments and result are kept. Options are static."""
    with set_xla_metadata(inlineable="false"):
        return jax.jit(function, static_argnames=tuple(options))(*arguments, **options)


def padded(x: jax.Array, *pads: tuple[int, int]) -> jax.Array:
    """x between zeros: so many before and after on each axis."""
    return kept(jnp.pad, x, pad_width=pads)


def windows(x: jax.Array, weights: np.ndarray, axis: int, step: int = 1) -> jax.Array:
    """The weighted sums of as many entries of an axis as there are weights, `step` apart, wherever all of them fit."""
    return kept(_windows, x, weights=tuple(weights.tolist()), axis=axis, step=step)


def _windows(x: jax.Array, *, weights: tuple[float, ...], axis: int, step: int) -> jax.Array:
    size = x.shape[axis] - (len(weights) - 1) * step
    seen = (jax.lax.slice_in_dim(x, i * step, i * step + size, 1, axis) for i in range(len(weights)))
    first, *others = [part * weight for part, weight in zip(seen, weights, strict=True)]
    return sum(others, first)
