"""Colorizes a TIFF of any size in bands of rows: once through the file for what the network sees, once for the result.

What is in memory is a band of the picture, and the picture reduced by whole blocks of pixels (their mean, so that each
counts by its area), from which the network's picture is made. A scan's border is painted as the rest is.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np
from PIL import Image

from palgan_jax.colorize.encode import encode_bands
from palgan_jax.colorize.join import LinearColors, join_band, linear_colors, luminance, with_alpha
from palgan_jax.colorize.metadata import Metadata
from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.data.tiff_bands import TiffBands

LARGE = 30_000_000
"""Pixels from which a picture is read in bands, if it can be; two passes take longer than one."""
_SIDE = 4  # of the reduced picture, in sides of the network's, at least


class Blocks:
    """The mean of each block of k x k pixels of a picture that comes in bands; blocks at the end may be cut."""

    def __init__(self, height: int, width: int, side: int) -> None:
        """side: pixels of the short side of the result, at least, if the picture has so many."""
        self._size = height, width
        self._k = max(1, min(height, width) // side)
        self._sums = np.zeros((-(-height // self._k), -(-width // self._k)), np.float64)
        self._top = 0

    def add(self, rows: np.ndarray) -> None:
        """Takes the next band (h, W)."""
        k = self._k
        across = np.add.reduceat(rows, np.arange(0, rows.shape[1], k), axis=1, dtype=np.float64)
        np.add.at(self._sums, (self._top + np.arange(len(rows))) // k, across)
        self._top += len(rows)

    def resized(self, height: int, width: int) -> np.ndarray:
        """Returns the picture, float32 (height, width), by antialiased bilinear interpolation of the means."""
        counts = [np.minimum(self._k, size - np.arange(0, size, self._k)) for size in self._size]
        means = (self._sums / np.outer(*counts)).astype(np.float32)
        box = (0, 0, self._size[1] / self._k, self._size[0] / self._k)
        resized = Image.fromarray(means).resize((width, height), Image.Resampling.BILINEAR, box=box)
        return np.asarray(resized, np.float32)


def colorize_bands(
    colorizer: Colorizer,
    source: TiffBands,
    metadata: Metadata,
    painting: Painting,
    turn: AbstractContextManager,
) -> Iterator[bytes]:
    """Yields the pieces of the result's PNG; painting and turn are those of `Colorizer.paint`."""
    shown, on_white = (Blocks(source.height, source.width, _SIDE * colorizer.resolution) for _ in range(2))
    seen = on_white if source.has_alpha else shown
    for band in source.bands():
        shown.add(luminance(band.pixels))
        if source.has_alpha:
            seen.add(luminance(band.on_white()))
    side = painting.resolution or colorizer.resolution
    _, ab = colorizer.paint_small(seen.resized(side, side), painting, turn)
    colors = linear_colors(shown.resized(*ab.shape[:2]), ab, (source.height, source.width))
    shape = (source.height, source.width, 4 if source.has_alpha else 3)
    dtype = np.dtype(np.uint16 if source.is_deep else np.uint8)
    return encode_bands(_painted(source, colors), shape, dtype, metadata)


def _painted(source: TiffBands, colors: LinearColors) -> Iterator[np.ndarray]:
    top = 0
    for band in source.bands():
        rgb = join_band(luminance(band.pixels), colors, top, source.is_deep)
        top += len(rgb)
        yield with_alpha(rgb, band)
