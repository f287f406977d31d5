"""Reads a TIFF in bands of rows, so that one of any size takes little memory: gray or RGB of 8 or 16 bits."""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palgan_jax.data import tiff_pages, tiff_samples
from palgan_jax.data.file_bytes import open_regular
from palgan_jax.data.formats import HEAD, damage_explained, format_of
from palgan_jax.data.libtiff import silence
from palgan_jax.data.picture import Picture
from palgan_jax.data.stored_pixels import StoredPixels
from palgan_jax.data.tiff_pages import Page, Tag
from palgan_jax.data.tiff_samples import Layout

_BAND = 1 << 21  # pixels, about
_GRAY_OR_RGB = (0, 1, 2)


@dataclass(frozen=True)
class TiffBands:
    """An open TIFF whose picture is read in bands of rows.

    Attributes:
      width, height: of the picture, upright.
      has_alpha: whether its bands have an opacity.
      is_deep: whether its samples have 16 bits.
      notes: as those of `Picture`.
    """

    width: int
    height: int
    has_alpha: bool
    is_deep: bool
    notes: tuple[str, ...]
    _descriptor: int
    _name: str
    _page: Page
    _layout: Layout

    def bands(self) -> Iterator[Picture]:
        """Yields the picture's bands from the top on, in sRGB. Raises UserError where it is damaged."""
        with damage_explained(self._name):
            for samples in self._samples():
                colors = tiff_samples.colors_of(samples, self._page, self._layout)
                stored = StoredPixels(self._name, self._page.profile)
                stored.take_pixels(colors.pixels, colors.alpha)
                yield Picture(stored.pixels, stored.alpha)

    def _samples(self) -> Iterator[np.ndarray]:
        return self._of_tiles() if _tile(self._page) else self._of_strips()

    def _of_tiles(self) -> Iterator[np.ndarray]:
        columns, rows = _tile(self._page) or (0, 0)
        tiles_per_row, places = -(-self.width // columns), self._places(Tag.TILE_OFFSETS, Tag.TILE_BYTES)
        if len(places) < tiles_per_row * -(-self.height // rows):
            raise ValueError("tiles of it are missing")
        for top in range(0, self.height, rows):
            row_places = places[top // rows * tiles_per_row :][:tiles_per_row]
            parts, height = [self._read(*place) for place in row_places], min(rows, self.height - top)
            yield tiff_samples.samples_of_tiles(parts, self._page, self._layout, height)

    def _places(self, offsets: Tag, counts: Tag) -> list[tuple[int, int]]:
        return list(zip(self._page.numbers(offsets), self._page.numbers(counts), strict=True))

    def _of_strips(self) -> Iterator[np.ndarray]:
        rows_of_strip = tiff_samples.rows_of_strip(self._page, self._layout)
        if self._page.number(Tag.COMPRESSION, 1) == 1:  # strips of any height, cut into others
            offsets, row = self._page.numbers(Tag.STRIP_OFFSETS), tiff_samples.row_bytes(self._layout)
            step = max(1, min(rows_of_strip, _BAND // self.width))
            places = [
                (offset + top * row, min(step, rows_of_strip - top, self.height - first - top) * row)
                for offset, first in zip(offsets, range(0, self.height, rows_of_strip), strict=False)
                for top in range(0, min(rows_of_strip, self.height - first), step)
            ]
            heights = [size // row for _, size in places]
        else:
            places = self._places(Tag.STRIP_OFFSETS, Tag.STRIP_BYTES)
            heights = [min(rows_of_strip, self.height - top) for top in range(0, self.height, rows_of_strip)]
        if sum(heights) != self.height or len(places) < len(heights):
            raise ValueError("strips of it are missing")
        strips_per_band = max(1, _BAND // (self.width * max(heights)))
        for first in range(0, len(heights), strips_per_band):
            parts = [self._read(*place) for place in places[first : first + strips_per_band]]
            band_heights = heights[first : first + strips_per_band]
            yield tiff_samples.samples_of_strips(parts, self._page, self._layout, band_heights[0], sum(band_heights))

    def _read(self, start: int, size: int) -> bytes:
        data = os.pread(self._descriptor, size, start)
        if len(data) < size:
            raise ValueError("its data end early")
        return data


def _tile(page: Page) -> tuple[int, int] | None:
    """Returns width and height of a page's tiles; None where it has strips."""
    tile = page.number(Tag.TILE_WIDTH, 0), page.number(Tag.TILE_LENGTH, 0)
    return tile if min(tile) > 0 else None


def _is_readable(page: Page, layout: Layout) -> bool:
    """Returns True for layouts whose samples mean the same whatever the others are, in parts of moderate size."""
    tile = _tile(page)
    rows = tile[1] if tile else tiff_samples.rows_of_strip(page, layout)
    in_slices = not tile and page.number(Tag.COMPRESSION, 1) == 1
    return (
        layout.photometric in _GRAY_OR_RGB
        and layout.bits in (8, 16)
        and layout.format == tiff_samples.UNSIGNED
        and not layout.planar
        and page.orientation == 1
        and page.number(Tag.MAX_SAMPLE, 0) in (0, (1 << layout.bits) - 1)
        and (in_slices or rows * layout.width <= 4 * _BAND)
        and (not tile or tile[0] <= 2 * layout.width)
        and not tiff_samples.unsupported(page, layout)
    )


@contextmanager
def open_bands(path: Path, number: int | None) -> Iterator[TiffBands | None]:
    """Opens a file in a `with` statement; None for one that can only be read as a whole, if at all.

    number: which page, from 0 on; None for the first, with a note about the others.

    Raises UserError where the file is not there, holds nothing or may not be opened.
    """
    with open_regular(path) as file:
        bands = None
        with suppress(Exception):  # whoever reads it as a whole says what is wrong
            if format_of(file.read(HEAD), str(path)) == "TIFF":
                bands = _bands_of(file.fileno(), str(path), number)
        yield bands


def _bands_of(descriptor: int, name: str, number: int | None) -> TiffBands | None:
    silence()
    data = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    pictures = tiff_pages.pictures(data)
    if not pictures:
        return None
    page = pictures[number or 0]
    layout = tiff_samples.layout_of(page)
    if not _is_readable(page, layout):
        return None
    stored = StoredPixels(name, page.profile)
    stored.count(len(pictures), number)
    # One pixel tells what is to be said of the profile, and whether there is an opacity.
    probe = tiff_samples.colors_of(np.zeros((1, 1, layout.samples), f"u{layout.bits // 8}"), page, layout)
    stored.take_pixels(probe.pixels, probe.alpha)
    notes = stored.upright(1).notes
    return TiffBands(
        layout.width, layout.height, probe.alpha is not None, layout.bits == 16, notes, descriptor, name, page, layout
    )
