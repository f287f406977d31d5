"""Writes PNG and TIFF of 16 bits, and TIFF of 8, for which Pillow has no way.

Pillow makes all that is no pixel: its PNG of one pixel lends its chunks, and its directories become those of the TIFF,
with the parts for EXIF and GPS, which it cannot write beside compressed pixels.
"""

import io
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from palgan_jax.errors import UserError, one_line

_BAND = 1 << 20  # values that are filtered at once
_IN_MEMORY = 1 << 26  # bytes of a TIFF that wait there
_LARGEST_TIFF = 0xF0000000
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class TooLarge(Exception):
    """A format does not take a file of this size."""


@dataclass(frozen=True, eq=False)
class Bands:
    """A picture that comes in bands of rows.

    Attributes:
      rows: the bands (h, W, 3 or 4), from the top on; the fourth channel is the opacity.
      shape: (H, W, 3 or 4) of all of them.
      dtype: uint8 or uint16.
    """

    rows: Iterable[np.ndarray]
    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, pixels: np.ndarray) -> "Bands":
        """Returns a whole picture as one band."""
        return cls([pixels], pixels.shape, pixels.dtype)


def png_of_bands(bands: Bands, level: int, **options: Any) -> Iterator[bytes]:
    """Yields the pieces of a PNG.

    Args:
      bands: the picture.
      level: zlib's, 1 to 9.
      options: those of Pillow's PNG writer that are about metadata.
    """
    height, width, channels = bands.shape
    small = io.BytesIO()
    Image.new("RGBA" if channels == 4 else "RGB", (1, 1)).save(small, "PNG", **options)
    yield _SIGNATURE
    for kind, content in _chunks(small.getvalue()):
        if kind == b"IHDR":
            content = struct.pack(">IIB", width, height, 8 * bands.dtype.itemsize) + content[9:]
        if kind != b"IDAT":
            yield _chunk(kind, content)
            continue
        compressor = zlib.compressobj(level)
        for rows in _filtered_rows(bands.rows, width * channels * bands.dtype.itemsize):
            if compressed := compressor.compress(rows):
                yield _chunk(kind, compressed)
        yield _chunk(kind, compressor.flush())


def _filtered_rows(bands: Iterable[np.ndarray], step: int) -> Iterator[bytes]:
    """Yields rows of `step` bytes, each value less the one above it (PNG's filter 2), which suits photographs."""
    previous_row = np.zeros((1, step), np.uint8)
    count = max(1, _BAND // step)
    for band in bands:
        for top in range(0, len(band), count):
            part = band[top : top + count]
            big_endian = part.astype(part.dtype.newbyteorder(">"), copy=False)
            rows = np.ascontiguousarray(big_endian).view(np.uint8).reshape(-1, step)
            filtered = np.empty((len(rows), step + 1), np.uint8)
            filtered[:, 0] = 2
            filtered[:, 1:] = rows - np.concatenate([previous_row, rows[:-1]])
            previous_row = rows[-1:]
            yield filtered.tobytes()


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def tiff_of_bands(
    bands: Bands, exif: Image.Exif, xmp: bytes, profile: bytes, dpi: tuple[float, float] | None
) -> Iterator[bytes]:
    """Yields the pieces of a TIFF: deflated strips of differences.

    The directory says where all strips are, and goes first: until it can be written, those of a large picture wait in a
    temporary file.

    Args:
      bands: the picture.
      exif: its directories for EXIF and GPS become those of the TIFF.
      xmp: an XMP packet; empty for none.
      profile: the ICC profile.
      dpi: pixels per inch across and down; None where it is unknown.

    Raises UserError where the temporary file cannot be written, and TooLarge for a file of more than 4 GB.
    """
    _, width, channels = bands.shape
    rows, lengths = max(1, _BAND // (width * channels)), []
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as waiting:
        for part in _parts(bands.rows, rows):
            strip = _strip(part)
            lengths.append(len(strip))
            try:
                waiting.write(strip + b"\0" * (len(strip) % 2))
            except OSError as error:
                raise UserError(
                    f"a large TIFF needs room for temporary files ({one_line(error)}): make some, or name another "
                    "folder by the variable TMPDIR."
                ) from error
            if waiting.tell() > _LARGEST_TIFF:
                raise TooLarge("more than 4 GB")
        directory = _own_directory(exif)
        _describe_strips(directory, bands, rows, lengths)
        _describe_picture(directory, xmp, profile, dpi)
        file = io.BytesIO()
        directory.save(file)
        yield file.getvalue()
        waiting.seek(0)
        while piece := waiting.read(_BAND):
            yield piece


def _own_directory(exif: Image.Exif) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Returns a directory with the tags of EXIF, and those for EXIF and GPS below it."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    for tag, value in exif.items():
        has_own = tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
        directory[tag] = exif.get_ifd(tag) if has_own and not isinstance(value, dict) else value
    return directory


def _describe_strips(
    directory: TiffImagePlugin.ImageFileDirectory_v2, bands: Bands, rows: int, lengths: Sequence[int]
) -> None:
    """Says how the pixels lie in strips of so many rows and bytes, each of which begins at an even place."""
    height, width, channels = bands.shape
    starts = np.cumsum([0, *(length + length % 2 for length in lengths)])[:-1]
    directory[0x0100], directory[0x0101] = width, height
    directory[0x0102] = (8 * bands.dtype.itemsize,) * channels
    directory[0x0103], directory[0x0106] = 8, 2  # deflate, RGB
    directory[0x0111], directory[0x0115] = tuple(map(int, starts)), channels
    directory[0x0116], directory[0x0117] = rows, tuple(lengths)
    directory[0x011C], directory[0x013D] = 1, 2  # all channels together, differences of neighbors
    for tag in (0x0111, 0x0117):
        directory.tagtype[tag] = 4
    if channels == 4:
        directory[0x0152] = 2  # colors are as they are under the opacity


def _describe_picture(
    directory: TiffImagePlugin.ImageFileDirectory_v2, xmp: bytes, profile: bytes, dpi: tuple[float, float] | None
) -> None:
    """Says what is known of the picture beside EXIF."""
    if dpi is not None:
        directory[0x011A], directory[0x011B], directory[0x0128] = (*dpi, 2)
    if xmp:
        directory[0x02BC] = xmp
        directory.tagtype[0x02BC] = 1
    directory[0x8773] = profile
    directory.tagtype[0x8773] = 7


def _parts(bands: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Yields bands of so many rows each, of bands of any; the last may have fewer."""
    rest: list[np.ndarray] = []
    for band in bands:
        pixels = np.concatenate([*rest, band]) if rest else band
        end = len(pixels) // rows * rows
        yield from (pixels[top : top + rows] for top in range(0, end, rows))
        rest = [pixels[end:]] if end < len(pixels) else []
    yield from rest


def _strip(rows: np.ndarray) -> bytes:
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    little_endian = differences.astype(differences.dtype.newbyteorder("<"), copy=False)
    return zlib.compress(little_endian.tobytes(), 6)
