"""Colors of a picture that are linear functions of its L, of small maps that are stretched over it (method: section 9).

The pixels of a picture of full size are computed band by band, so that their maps need no memory.
"""

import math

import numpy as np
from PIL import Image

from palgan_jax.colorize.lab_levels import ROOTS_OF_AB, product

_COLUMNS = 128  # that maps are stretched to at a time


class LinearColors:
    """ab as a linear function of L, by small maps that bicubic interpolation (Pillow's) stretches over a picture."""

    def __init__(self, offset: np.ndarray, slope: np.ndarray, size: tuple[int, int]) -> None:
        """Takes ab = offset + slope * L, maps (h, w, 2), for a picture of size (H, W)."""
        (height, width), (rows, columns) = size, offset.shape[:2]
        self._offset, self._slope = offset, slope
        # The roots of X and Z (see lab_levels) are linear functions of L, too.
        maps = np.concatenate([16 + offset * ROOTS_OF_AB, 1 + slope * ROOTS_OF_AB], axis=-1)
        maps = np.moveaxis(maps, -1, 0).astype(np.float32).reshape(4 * rows, columns)
        wide = np.empty((4 * rows, width), np.float32)
        across = _Interpolation(columns, width)
        for first in range(0, width, _COLUMNS):
            part = slice(first, first + _COLUMNS)
            weights, near = across.part(part)
            product(weights, maps[:, near].T, wide[:, part].T)
        self._wide, self._down = wide.reshape(4, rows, width), _Interpolation(rows, height)

    def resized(self, size: tuple[int, int]) -> "LinearColors":
        """Returns them for a picture of another size (H, W)."""
        return LinearColors(self._offset, self._slope, size)

    def roots(self, l: np.ndarray, top: int, bottom: int) -> np.ndarray:
        """Returns the roots (3, bottom - top, W), see `lab_levels`, of rows top..bottom, of L (bottom - top, W)."""
        weights, near = self._down.part(slice(top, bottom))
        maps = product(weights, self._wide[:, near])
        slope = maps[2:]
        slope *= l
        maps[:2] += slope
        np.add(l, 16, out=maps[2])
        return maps[:3]


class PixelColors:
    """ab as `LinearColors` have it, at some pixels alone."""

    def __init__(self, maps: tuple[int, int], size: tuple[int, int], places: np.ndarray, l: np.ndarray) -> None:
        """Prepares for maps of a size (h, w) over a picture of (H, W): at pixels (N, 2), x and y, whose L is l (N,)."""
        self._down, self._across = (
            _Interpolation(count, length).at(at) for count, length, at in zip(maps, size, places.T[::-1], strict=True)
        )
        self._l = l[:, None]

    def __call__(self, offset: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Returns the ab (N, 2) that offset + slope * L, maps (h, w, 2), have at the pixels."""
        maps = np.concatenate([offset, slope], axis=-1)
        rows = product(self._down, maps.reshape(len(maps), -1)).reshape(-1, *maps.shape[1:])  # (N, w, 4)
        values = np.einsum("nwc,nw->nc", rows, self._across)
        return values[:, :2] + values[:, 2:] * self._l


class _Interpolation:
    """Pillow's bicubic interpolation of `count` samples to `size`, as products of matrices, which take less time."""

    def __init__(self, count: int, size: int) -> None:
        self._count = count
        support = 2 * max(1.0, count / size)  # samples on each side of a result that it is made of
        near = min(count, math.ceil(2 * support))
        middle = (np.arange(size) + 0.5) * (count / size)
        self._first = np.clip(np.floor(middle - support + 0.5), 0, count - near).astype(np.intp)
        # Samples that are `near` apart are never in one result: the weights of both have one column.
        columns = Image.fromarray((np.arange(count)[:, None] % near == np.arange(near)).astype(np.float32))
        weights = np.asarray(columns.resize((near, size), Image.Resampling.BICUBIC))
        self._near = np.arange(near)
        self._weights = np.take_along_axis(weights, (self._first[:, None] + self._near) % near, axis=1)

    def part(self, results: slice) -> tuple[np.ndarray, slice]:
        """Returns the weights (M, K) of some of the results, and the K samples which they are of."""
        first = self._first[results]
        samples = slice(first.min(), first.max() + len(self._near))
        return self._matrix(results, samples), samples

    def at(self, results: np.ndarray) -> np.ndarray:
        """Returns the weights (N, count) of all samples in some results (N,)."""
        return self._matrix(results, slice(0, self._count))

    def _matrix(self, results: slice | np.ndarray, samples: slice) -> np.ndarray:
        places = self._first[results, None] - samples.start + self._near
        matrix = np.zeros((len(places), samples.stop - samples.start), np.float32)
        matrix[np.arange(len(places))[:, None], places] = self._weights[results]
        return matrix
