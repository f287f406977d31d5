"""Pictures whose neighboring columns are packed as channels, which TPUs compute with faster.

A TPU keeps 128 channels together in memory and multiplies as many at a time: a picture of 64 channels takes the room
and the time of one of 128, unless two columns are packed into one. A convolution of packed pictures has a larger
kernel, in which each number stands n times among zeros.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Columns:
    """A picture (B, H, W, C) of which n neighboring columns are packed into one.

    It stands for that picture: `shape`, arithmetic and means are those of the picture, so that norms and residual
    blocks read the same for both. It is a pytree, so that `jax.tree.map` applies functions of single numbers.

    Attributes:
      array: (B, H, W / n, n C), the same numbers in the same order.
      n: the number of columns that are packed together.
    """

    array: jax.Array
    n: int = field(metadata={"static": True})

    @property
    def shape(self) -> tuple[int, int, int, int]:
        batch, height, width, channels = self.array.shape
        return batch, height, width * self.n, channels // self.n

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    def astype(self, dtype: Any) -> "Columns":
        return Columns(self.array.astype(dtype), self.n)

    def mean(self, axes: tuple[int, ...]) -> jax.Array:
        """Returns the mean over axes of the picture, of which the width is one and the channels are none."""
        means = self.array.mean(axes)  # (..., n C)
        return means.reshape(*means.shape[:-1], self.n, -1).mean(-2)

    def _packed(self, other: Any) -> Any:
        """Packs what is combined with the picture: another picture, or what is the same in all columns."""
        if isinstance(other, Columns):
            return other.array if other.n == self.n else stored(pack(other, self.n))
        if jnp.ndim(other) == 0:
            return other
        if other.ndim == 1 or other.shape[-2] == 1:
            return jnp.tile(other, self.n)
        return stored(pack(jnp.broadcast_to(other, (*other.shape[:-1], self.shape[-1])), self.n))

    def __add__(self, other: Any) -> "Columns":
        return Columns(self.array + self._packed(other), self.n)

    def __sub__(self, other: Any) -> "Columns":
        return Columns(self.array - self._packed(other), self.n)

    def __mul__(self, other: Any) -> "Columns":
        return Columns(self.array * self._packed(other), self.n)

    __radd__, __rmul__ = __add__, __mul__


Picture = Any
"""A picture (B, H, W, C): jax.Array, or Columns where the caller packed it."""


def pack(x: Picture, n: int) -> Picture:
    """Packs n neighboring columns of a picture (B, H, W, C); 1 leaves it as it is."""
    x = unpack(x)
    return x if n == 1 else Columns(x.reshape(*x.shape[:2], x.shape[2] // n, n * x.shape[3]), n)


def unpack(x: Picture) -> jax.Array:
    """Returns a picture as an array (B, H, W, C)."""
    return x.array.reshape(x.shape) if isinstance(x, Columns) else x


def stored(x: Picture) -> jax.Array:
    """Returns the array that holds a picture: (B, H, W / n, n C) with n packed columns."""
    return x.array if isinstance(x, Columns) else x


def packed_columns(x: Picture) -> int:
    """Returns the number of columns that are packed together: 1 for an array."""
    return x.n if isinstance(x, Columns) else 1


def convolve_columns(x: Picture, kernel: jax.Array, stride: int, padding: int, columns: int | None) -> Picture:
    """Convolves a picture (B, H, W, C) with a kernel (k, k, C, D); the result is packed by `columns`, or as x is.

    `stride` times `columns` has to be a multiple of the columns of x. Result column c of a packed result reads column
    `stride c + tap - padding` of the picture with each tap, which is one of the columns of a packed column of x: the
    kernel is laid out anew, with taps at these places and zeros elsewhere.
    """
    n = packed_columns(x)
    columns = columns or n
    first = -padding // n  # the first packed column that the first result reads
    last = (stride * (columns - 1) + kernel.shape[1] - 1 - padding) // n
    step, rest = divmod(stride * columns, n)
    if rest:
        raise ValueError(f"{n} packed columns cannot be convolved to {columns} packed columns with stride {stride}.")
    zeros = jnp.zeros_like(kernel[:, 0])  # (k, C, D)

    def weight(place: int, column: int, result: int) -> jax.Array:
        tap = n * place + column - stride * result + padding
        return kernel[:, tap] if 0 <= tap < kernel.shape[1] else zeros

    wide = [
        jnp.concatenate(
            [jnp.concatenate([weight(i, column, result) for result in range(columns)], -1) for column in range(n)], -2
        )
        for i in range(first, last + 1)
    ]
    kernel = jnp.stack(wide, axis=1)  # (k, last - first + 1, n C, columns D)
    pads = ((padding, padding), (-first, last - step + 1))
    y = jax.lax.conv_general_dilated(
        stored(x), kernel, (stride, step), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y if columns == 1 else Columns(y, columns)
