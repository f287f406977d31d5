"""Colorizes a TIFF of any size in bands of rows: once through the file for what the network sees, once for the result.

What is in memory is a band of the picture, and the picture reduced by whole blocks of pixels (their mean, so that each
counts by its area), from which the network's picture is made, and in which the border of a print is looked for.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from palgan_jax.colorize.border import find_border
from palgan_jax.colorize.contrast import UNCHANGED, Tones
from palgan_jax.colorize.deep_formats import Bands
from palgan_jax.colorize.edges import Guide
from palgan_jax.colorize.join import join_band, linear_colors, luminance, with_alpha
from palgan_jax.colorize.linear_colors import LinearColors
from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.data.file_bytes import is_pipe
from palgan_jax.data.tiff_bands import TiffBands, open_bands
from palgan_jax.palette.palette import Palette

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


@contextmanager
def open_large(path: Path, page: int | None, pixels: int) -> Iterator[TiffBands | None]:
    """Opens a picture of so many pixels in a `with` statement; None for one that is to be read as a whole."""
    if pixels < LARGE or is_pipe(path):
        yield None
        return
    with open_bands(path, page) as bands:
        yield bands


class Overview:
    """What one pass through a picture in bands tells of it.

    Attributes:
      contrast: what its luminance goes through before all else.
      border: the border of a print, where it is to stay gray.
      place: rows and columns of what is painted.
    """

    def __init__(
        self, source: TiffBands, painting: Painting, resolution: int, go_on: Callable[[], None] = lambda: None
    ) -> None:
        """Reads the picture for a painting by a model of this resolution; go_on is that of `paint_bands`."""
        size = source.height, source.width
        self._means, on_white = (Blocks(*size, _SIDE * resolution) for _ in range(2))
        self._view_means = on_white if source.has_alpha else self._means
        tones = Tones(*size) if painting.restore_contrast else None
        for band in source.bands():
            go_on()
            lightness = luminance(band.pixels)
            self._means.add(lightness)
            if tones is not None:
                tones.add(lightness, band.alpha)
            if source.has_alpha:
                self._view_means.add(luminance(band.on_white()))
        print_border = None if painting.sees_border and tones is None else find_border(self._view_means.means())
        self.contrast = UNCHANGED if tones is None else tones.full_contrast(print_border)
        self.border = None if painting.sees_border else print_border
        self.place = self.border.place(*size) if self.border else (slice(0, source.height), slice(0, source.width))

    def view(self, side: int) -> np.ndarray:
        """Returns what the network sees: L (side, side) of what is painted."""
        return self.contrast(self._view_means.resized(side, side, self.place))

    def guide(self, height: int, width: int) -> Guide:
        """Returns what guides paintings of this size along the edges of the picture."""
        return Guide(self.contrast(self._means.resized(height, width, self.place)))


def predict_palette(
    colorizer: Colorizer, source: TiffBands, painting: Painting, turn: AbstractContextManager
) -> Palette:
    """Predicts the palette of a picture in bands, of what is seen of it where it is painted so.

    turn is that of `Colorizer.paint`.
    """
    overview = Overview(source, painting, colorizer.resolution)
    return colorizer.paint_small(overview.view(colorizer.resolution), Painting(), turn)[0]


def reduced(source: TiffBands, side: int) -> np.ndarray:
    """Returns a picture in bands as it lies on white paper, uint8 (h, w, 3), with a longer side of `side` at least."""
    height, width = source.height, source.width
    channels = [Blocks(height, width, max(1, side * min(height, width) // max(height, width))) for _ in range(3)]
    for band in source.bands():
        rgb = band.on_white()
        for i, channel in enumerate(channels):
            channel.add(rgb[..., i])
    return np.dstack([np.rint(channel.means()).astype(np.uint8) for channel in channels])


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
    overview = Overview(source, painting, colorizer.resolution, go_on)
    _, ab = colorizer.paint_small(overview.view(painting.resolution or colorizer.resolution), painting, turn)
    rows, columns = overview.place
    inner = rows.stop - rows.start, columns.stop - columns.start
    colors = linear_colors(overview.guide(*ab.shape[:2]), ab, inner)
    deep = deep and source.is_deep
    painted = _painted(source, overview, colors, deep, go_on)
    channels = 4 if source.has_alpha else 3
    return Bands(painted, (source.height, source.width, channels), np.dtype(np.uint16 if deep else np.uint8))


def _painted(
    source: TiffBands, overview: Overview, colors: LinearColors, deep: bool, go_on: Callable[[], None]
) -> Iterator[np.ndarray]:
    """Yields bands of the result: colors in the place of the overview, and gray on its border."""
    place, border = overview.place, overview.border
    top, gray = 0, np.zeros((2, 2, 2), np.float32)
    no_colors = LinearColors(gray, gray, (source.height, source.width))
    for band in source.bands():
        go_on()
        lightness = overview.contrast(luminance(band.pixels))
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
