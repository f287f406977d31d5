"""Pictures whose pixels are strips: n neighboring columns as one pixel of n times the channels.

(B, H, W, C) is (B, H, W / n, n C), the same numbers in the same order. A TPU keeps 128 channels together in memory and
multiplies as many at a time: pictures of 64 take the room and the time of 128, and pairs of columns do not. A
convolution from strips to strips has a larger kernel, in which each number stands n times among zeros.
"""

import jax
import jax.numpy as jnp

Strips = tuple[int, int]
"""The number of columns in a pixel of what is convolved, and of the result."""


def strip(x: jax.Array, n: int) -> jax.Array:
    """(B, H, W, C) as strips of n columns, (B, H, W / n, n C)."""
    return x.reshape(*x.shape[:2], x.shape[2] // n, n * x.shape[3])


def unstrip(x: jax.Array, n: int) -> jax.Array:
    """Strips of n columns, (B, H, W / n, n C), as the picture (B, H, W, C)."""
    return x.reshape(*x.shape[:2], x.shape[2] * n, x.shape[3] // n)


def convolve_strips(x: jax.Array, kernel: jax.Array, stride: int, padding: int, strips: Strips) -> jax.Array:
    """Convolves a picture (B, H, W, C) with a kernel (k, k, C, D), both pictures in strips.

    x is (B, H, W / seen, seen C); returns (B, H / stride, W / stride / made, made D). `stride` times `made` has to be a
    multiple of `seen`.
    """
    seen, made = strips
    first = -padding // seen  # the strips that the first result sees: from this one
    last = (stride * (made - 1) + kernel.shape[1] - 1 - padding) // seen
    step, rest = divmod(stride * made, seen)
    if rest:
        raise ValueError(f"strips of {seen} columns cannot be convolved to strips of {made} with stride {stride}.")
    nothing = jnp.zeros_like(kernel[:, 0])  # (k, C, D)

    def weight(place: int, column: int, result: int) -> jax.Array:
        tap = seen * place + column - stride * result + padding
        return kernel[:, tap] if 0 <= tap < kernel.shape[1] else nothing

    wide = [
        jnp.concatenate(
            [jnp.concatenate([weight(i, column, result) for result in range(made)], -1) for column in range(seen)], -2
        )
        for i in range(first, last + 1)
    ]
    pads = ((padding, padding), (-first, last - step + 1))
    kernel = jnp.stack(wide, axis=1)  # (k, last - first + 1, seen C, made D)
    return jax.lax.conv_general_dilated(x, kernel, (stride, step), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def fold(x: jax.Array, n: int) -> jax.Array:
    """The mean (..., C) over the columns of each strip of what belongs to channels of strips, (..., n C)."""
    return x.reshape(*x.shape[:-1], n, -1).mean(-2)


def spread(x: jax.Array, n: int) -> jax.Array:
    """The channels (..., C) of a pixel for each column of a strip, (..., n C)."""
    return jnp.tile(x, n)
