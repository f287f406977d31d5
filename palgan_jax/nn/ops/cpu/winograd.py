"""Convolutions of float32 as matrix products on the CPU, where XLA's own are slow.

On the CPU, XLA takes two to five times as long for the gradient of a kernel as for the convolution itself, and for
either longer than a matrix product of as many multiplications. So here, for stride 1 and padding kernel // 2,

  1 x 1          is a matrix product, and so are both of its gradients;
  3 x 3, 5 x 5,  are Winograd's minimal filtering: along an axis with r taps, the picture is cut into tiles of m + r - 1
  1 x 3, 1 x 7,  pixels, which overlap by r - 1; tiles and kernel are transformed, multiplied entry by entry, which for
  and the last   all channels and tiles is so many matrix products, and transformed back to m pixels. 3 x 3 taps take
  two turned     (1 + 2 / m)^2 multiplications a pixel instead of 9: 4 for m = 2, 2.25 for m = 4; 7 taps take 2.5.

With A^T, G and B^T of Winograd ("Arithmetic Complexity of Computations", 1980), for a tile d and a kernel g

    y = A^T [(G g G^T) * (B^T d B)] A        (Lavin and Gray, 2016, arXiv:1509.09308)

and, since y is linear in g, the gradient of the kernel is G^T [(A y' A^T) * (B^T d B)] G, summed over tiles. The
gradient of the picture is a convolution with the kernel turned by 180 degrees. In float32 all stay within 1e-5 of the
largest entry. 3 x 3 taps at every second pixel are a product of patches, of few channels or small pictures; their
gradients are XLA's.

Sums of slices and of broadcasts are what XLA does quickly on the CPU; stacking takes ten times as long, be it the
transformed tiles, to multiply them in one batched product, or the pixels of the result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.nn.ops.cpu.noinline import noinline, padded

WIDE = {"forward": 48, "kernel": 64}
"""The fewest input and output channels with which transforming costs less than it saves."""
POINTS = {4: (0, 1, -1), 6: (0, 2 / 3, -2 / 3, 3 / 2, -3 / 2), 10: (0, 0.4, -0.4, 0.8, -0.8, 1.25, -1.25, 2.5, -2.5)}
"""Pixels of a tile -> where the polynomials behind the filter are evaluated, beside infinity. With (0, 1, -1, 2, -2),
as Lavin and Gray have it, six lose four times as much to rounding."""
TAPS = ((1, 1), (3, 3), (5, 5), (1, 3), (3, 1), (1, 7), (7, 1))

Grid = Sequence[Sequence[jax.Array]]
Kind = Literal["input", "output"]


def is_faster(x: Sequence[int], kernel: Sequence[int], stride: int, padding: tuple[int, int]) -> bool:
    """Returns whether `forward` is faster than XLA for these shapes.

    Where there are few pixels, transforming the kernel would cost as much as it saves. Where a size is not known yet,
    since the program is exported for any, XLA's convolution it is.
    """
    taps, channels = tuple(kernel[:2]), kernel[2:]
    if not all(isinstance(size, int) for size in x) or np.prod(x[:3]) < 512:
        return False
    if stride == 2:
        return taps == (3, 3) and (channels[0] < 8 or x[1] * x[2] <= 100**2)
    is_same_size = stride == 1 and padding == (taps[0] // 2, taps[1] // 2)
    return is_same_size and taps in TAPS and (taps == (1, 1) or min(channels) >= WIDE["forward"])


def is_kernel_gradient_faster(kernel: Sequence[int]) -> bool:
    """Returns whether `kernel_gradient` is faster than XLA, at stride 1, for a kernel of this shape."""
    return tuple(kernel[:2]) == (1, 1) or min(kernel[2:]) >= WIDE["kernel"]


def forward(x: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int]) -> jax.Array:
    """Convolves x (B, H, W, C) with a kernel (k, l, C, D)."""
    if stride > 1:
        return _product_of_patches(x, kernel, stride, padding)
    if kernel.shape[:2] == (1, 1):
        return jnp.matmul(x, kernel[0, 0])
    return noinline(_winograd, x, kernel)


def picture_gradient(g: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes the gradient of the picture, at stride 1, from that of the result, g (B, H, W, D)."""
    if kernel.shape[:2] == (1, 1):
        return jnp.matmul(g, kernel[0, 0].T)
    return noinline(_winograd, g, kernel[::-1, ::-1], transposed=True)


def kernel_gradient(g: jax.Array, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes the gradient of the kernel, at stride 1, from that of the result, g (B, H, W, D)."""
    # The operand of fewer channels comes first, since the product has to transpose it. From the gradient's pixels the
    # picture's lie at the opposite offsets.
    if kernel.shape[2] <= kernel.shape[3]:
        return _summed_products(x, g, kernel.shape[:2])
    return _summed_products(g, x, kernel.shape[:2])[::-1, ::-1].swapaxes(2, 3)


def _summed_products(x: jax.Array, g: jax.Array, taps: tuple[int, ...]) -> jax.Array:
    """Computes x^T g, summed over pixels, for each tap, which shifts x (B, H, W, C): (k, l, C, D)."""
    if taps == (1, 1):
        return jnp.matmul(x.reshape(-1, x.shape[-1]).T, g.reshape(-1, g.shape[-1]))[None, None]
    axes = _axes(taps, x.shape[1:3], large=np.inf)
    products = _products(_tiles(x, axes, "input"), _tiles(g, axes, "output"), lambda t, s: jnp.matmul(t.T, s))
    return jnp.stack([jnp.stack(row) for row in _transform([axis.kernel.T for axis in axes], products)])


def _product_of_patches(x: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int]) -> jax.Array:
    x = padded(x, (0, 0), *((pad, pad) for pad in padding), (0, 0))
    taps = kernel.shape[:2]
    ends = [size - tap + 1 for size, tap in zip(x.shape[1:3], taps, strict=True)]
    shifted = [x[:, i : ends[0] + i : stride, j : ends[1] + j : stride] for i, j in np.ndindex(*taps)]
    return jnp.matmul(jnp.concatenate(shifted, axis=-1), kernel.reshape(-1, kernel.shape[-1]))


@dataclass(frozen=True, eq=False)
class _Axis:
    """The matrices of the filter along one axis, of r taps and m pixels a tile.

    Attributes:
      output: A^T (m, m + r - 1).
      kernel: G (m + r - 1, r).
      input: B^T (m + r - 1, m + r - 1).
    """

    output: np.ndarray
    kernel: np.ndarray
    input: np.ndarray

    @property
    def m(self) -> int:
        return self.output.shape[0]

    def of_tiles(self, kind: Kind) -> np.ndarray:
        return self.input if kind == "input" else self.output.T


@lru_cache
def _axis(m: int, taps: int) -> _Axis:
    """Makes the filter, the transpose of a product of polynomials by their values at points (Toom and Cook)."""
    if taps == 1:
        return _Axis(np.eye(1), np.eye(1), np.eye(1))
    points = np.array(POINTS[m + taps - 1])

    def values(terms: int) -> np.ndarray:
        return np.vstack([points[:, None] ** np.arange(terms), np.eye(terms)[-1]])

    a, g, b = values(m), values(taps), np.linalg.inv(values(m + taps - 1)).T
    scale = 2.0 ** np.round(np.log2(np.abs(b).max(axis=1, keepdims=True)))  # keeps the rows alike, and is exact
    return _Axis(a.T, g * scale, b / scale)


def _axes(taps: Sequence[int], size: Sequence[int], large: float = 100**2) -> list[_Axis]:
    # Small pictures have too few tiles of 4 x 4 to be worth 36 transformed kernels; the tiles of large ones, which are
    # more than the picture, leave the cache.
    square = taps[0] == taps[1]
    m = 2 if square and (taps[0] > 3 or not 16**2 < np.prod(size) <= large) else 4
    return [_axis(m, r) for r in taps]


def _winograd(x: jax.Array, kernel: jax.Array, *, transposed: bool = False) -> jax.Array:
    """Convolves x (B, H, W, C); `transposed` takes the matrix of each tap transposed, (k, l, D, C)."""
    batch, height, width, _ = x.shape
    axes = _axes(kernel.shape[:2], (height, width))
    kernels = _transform([axis.kernel for axis in axes], kernel)
    # Transposing in the product costs nothing.
    products = _products(_tiles(x, axes, "input"), kernels, lambda t, k: jnp.matmul(t, k.T if transposed else k))
    down, right = (-(-size // axis.m) for size, axis in zip((height, width), axes, strict=True))
    tiles = (batch, down, 1, right, 1, -1)
    columns = [
        _noinline_if_tiled(_spread, column, axis=axes[0], shape=tiles, n=2) for column in zip(*products, strict=True)
    ]
    tiles = (batch, down, axes[0].m, right, 1, -1)
    y = _spread(columns, axis=axes[1], shape=tiles, n=4)  # (B, H / m, m, W / m, m, D)
    return y.reshape(batch, down * axes[0].m, right * axes[1].m, -1)[:, :height, :width]


def _spread(parts: Sequence[jax.Array], *, axis: _Axis, shape: tuple[int, ...], n: int) -> jax.Array:
    """Computes A^T x of a vector of arrays: its entries lie along the n-th axis of arrays reshaped to `shape`.

    As sums of broadcasts, since stacking is slow.
    """
    entries = [axis.m if i == n else 1 for i in range(len(shape))]
    columns = axis.output.astype(np.float32).T.reshape(-1, *entries)
    return sum((column * part.reshape(shape) for column, part in zip(columns, parts, strict=True)), 0.0)  # type: ignore


def _products(first: Grid, second: Grid, product: Callable[[jax.Array, jax.Array], jax.Array]) -> Grid:
    return [[product(*pair) for pair in zip(*rows, strict=True)] for rows in zip(first, second, strict=True)]


def _tiles(x: jax.Array, axes: Sequence[_Axis], kind: Kind) -> Grid:
    """Transforms the tiles of a picture (B, H, W, C) or, for "output", of the gradient of one: [i][j] (tiles, C)."""
    pads = []
    for size, axis in zip(x.shape[1:3], axes, strict=True):
        border = len(axis.kernel.T) // 2 if kind == "input" else 0
        last = (size - 1) // axis.m * axis.m
        pads.append((border, last + axis.of_tiles(kind).shape[1] - border - size))
    rows = _noinline_if_tiled(_along, padded(x, (0, 0), *pads, (0, 0)), axis=axes[0], kind=kind, n=1)
    columns = [_along(row, axis=axes[1], kind=kind, n=2) for row in rows]
    return [[tile.reshape(-1, tile.shape[-1]) for tile in column] for column in columns]


def _noinline_if_tiled(function: Callable[..., Any], x: Any, *, axis: _Axis, **options: Any) -> Any:
    transformation = function if axis.m == 1 else partial(noinline, function)  # one tap leaves everything as it is
    return transformation(x, axis=axis, **options)


def _along(x: jax.Array, *, axis: _Axis, kind: Kind, n: int) -> Sequence[jax.Array]:
    """Transforms the tiles along the n-th axis."""
    matrix = axis.of_tiles(kind)
    end = x.shape[n] - matrix.shape[1] + 1
    return _combine(matrix, [jax.lax.slice_in_dim(x, i, end + i, axis.m, n) for i in range(matrix.shape[1])])


def _transform(matrices: Sequence[np.ndarray], grid: Grid | jax.Array) -> Grid:
    """Computes M X N^T of a grid of arrays, [i][j] each."""
    columns = [_combine(matrices[0], column) for column in zip(*grid, strict=True)]
    return [_combine(matrices[1], row) for row in zip(*columns, strict=True)]


def _combine(matrix: np.ndarray, parts: Sequence[jax.Array]) -> Sequence[jax.Array]:
    """Computes M x of a vector of arrays, without the products with zeros of M."""
    return [
        sum((part * np.float32(weight) for weight, part in zip(row, parts, strict=True) if abs(weight) > 1e-12), 0.0)
        for row in matrix
    ]  # type: ignore[return-value]
