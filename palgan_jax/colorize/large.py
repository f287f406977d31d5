"""Colorizes a TIFF of any size in bands of rows: once through the file for what the network sees, once for the result.

What is in memory is a band of the picture, and the picture reduced by whole blocks of pixels (their mean, so that each
counts by its area), from which the network's picture is made, and in which the border of a print is looked for.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import numpy as np
from PIL import Image

from palgan_jax.colorize.border import Border, find_border
from palgan_jax.colorize.contrast import UNCHANGED, Contrast, Tones
from palgan_jax.colorize.deep_formats import Bands
from palgan_jax.colorize.edges import Guide
from palgan_jax.colorize.join import join_band, linear_colors, luminance, with_alpha
from palgan_jax.colorize.linear_colors import LinearColors
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

    def means(self) -> np.ndarray:
        """Returns the means, float32 (h, w)."""
        counts = [np.minimum(self._k, size - np.arange(0, size, self._k)) for size in self._size]
        return (self._sums / np.outer(*counts)).astype(np.float32)

    def resized(self, height: int, width: int, place: tuple[slice, slice] | None = None) -> np.ndarray:
        """Returns the picture, or its rows and columns `place`, float32 (height, width), made of the means.

        By antialiased bilinear interpolation.
        """
        rows, columns = place or (slice(0, self._size[0]), slice(0, self._size[1]))
        left, top, right, bottom = (x / self._k for x in (columns.start, rows.start, columns.stop, rows.stop))
        resized = Image.fromarray(self.means()).resize(
            (width, height), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
        )
        return np.asarray(resized, np.float32)


def paint_bands(
    colorizer: Colorizer,
    source: TiffBands,
    painting: Painting,
    deep: bool,
    turn: AbstractContextManager,
    go_on: Callable[[], None],
) -> Bands:
    """Paints a picture: its bands are computed as they are taken.

    painting, deep and turn are those of `Colorizer.paint`; go_on is called before each band, and raises where the work
    is to be left.
    """
    size = source.height, source.width
    block_means, on_white = (Blocks(*size, _SIDE * colorizer.resolution) for _ in range(2))
    view_means = on_white if source.has_alpha else block_means
    tones = Tones(*size) if painting.restore_contrast else None
    for band in source.bands():
        go_on()
        lightness = luminance(band.pixels)
        block_means.add(lightness)
        if tones is not None:
            tones.add(lightness, band.alpha)
        if source.has_alpha:
            view_means.add(luminance(band.on_white()))
    side = painting.resolution or colorizer.resolution
    print_border = None if painting.paint_border and tones is None else find_border(view_means.means())
    contrast = UNCHANGED if tones is None else tones.full_contrast(print_border)
    border = None if painting.paint_border else print_border
    place = border.place(*size) if border else (slice(0, source.height), slice(0, source.width))
    _, ab = colorizer.paint_small(contrast(view_means.resized(side, side, place)), painting, turn)
    inner = place[0].stop - place[0].start, place[1].stop - place[1].start
    colors = linear_colors(Guide(contrast(block_means.resized(ab.shape[0], ab.shape[1], place))), ab, inner)
    deep = deep and source.is_deep
    painted = _painted(source, contrast, colors, place, border, deep, go_on)
    return Bands(painted, (*size, 4 if source.has_alpha else 3), np.dtype(np.uint16 if deep else np.uint8))


def _painted(
    source: TiffBands,
    contrast: Contrast,
    colors: LinearColors,
    place: tuple[slice, slice],
    border: Border | None,
    deep: bool,
    go_on: Callable[[], None],
) -> Iterator[np.ndarray]:
    """Yields bands of the result: of this contrast, colors in the rows and columns `place`, and gray on the border."""
    top, gray = 0, np.zeros((2, 2, 2), np.float32)
    no_colors = LinearColors(gray, gray, (source.height, source.width))
    for band in source.bands():
        go_on()
        lightness = contrast(luminance(band.pixels))
        bottom = top + len(lightness)
        first, last = max(top, place[0].start), min(bottom, place[0].stop)
        if border is None:
            rgb = join_band(lightness, colors, top, deep)
        else:
            rgb = join_band(lightness, no_colors, top, deep)
            if first < last:
                inner = np.s_[first - top : last - top, place[1]]
                painted = join_band(np.ascontiguousarray(lightness[inner]), colors, first - place[0].start, deep)
                is_border = border.mask(source.height, source.width, top, bottom)[inner] > 0
                rgb[inner] = np.where(is_border[..., None], rgb[inner], painted)
        top = bottom
        yield with_alpha(rgb, band)
