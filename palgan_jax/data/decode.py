"""Decodes picture files of every format to upright sRGB, with one error sentence for whatever goes wrong.

JPEGs go through libjpeg-turbo (simplejpeg) with DCT scaling. Everything else, and JPEGs that it declines (CMYK, odd or
slightly damaged ones), goes through Pillow. Pillow also reads the headers, except those of plain JPEGs, which are most
training pictures, and of TIFFs. These rules hold for the whole project:

- EXIF orientation is applied, always: an array's first row is the top of the picture as a person sees it.
- Colors are converted to sRGB by the ICC profile, or by the numbers that a file states instead
  (`palgan_jax.data.coded_colors`). A broken profile is left aside, and so is one that describes other colors than the
  picture has.
- `decode_picture` keeps 16 bits of gray and of color, or says that it does not (`palgan_jax.data.deep_samples`).
  Integers and floats of other ranges are scaled as `palgan_jax.data.levels` says.
- Transparency is kept by `decode_picture` and composited over white by `read_rgb`.
- The first picture of an animation or of a TIFF with several pages is read; reduced copies do not count.
- A side under 16 pixels, or more megapixels than the limit, is refused from the header, before any pixel is decoded.
"""

import io
import logging
import mmap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

from palgan_jax.data import deep_samples, jpeg, jpeg_xl, png, pnm, raw, tiff_pages
from palgan_jax.data.boxes import color_codes
from palgan_jax.data.coded_colors import shaper_of_chunks, shaper_of_codes
from palgan_jax.data.embedded_profile import embedded_profile
from palgan_jax.data.file_bytes import is_pipe, open_regular, read_bytes
from palgan_jax.data.formats import HEAD, damage_explained, format_of, open_header
from palgan_jax.data.limits import MAX_PIXELS, check_scans, check_size
from palgan_jax.data.picture import Picture
from palgan_jax.data.stored_pixels import StoredPixels
from palgan_jax.data.tiff_picture import decode_tiff, upright_size
from palgan_jax.util.threads import SharedContext

ORIENTATION = 0x0112
"""The EXIF tag."""
ALBUMS = ("MPO", "HEIF")
"""Formats of Pillow whose pictures differ in more than their pixels: in size, turn and captions."""

_EXIF_KEYS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}  # where Pillow's getexif looks
_LARGEST_TEXT = 64_000_000  # bytes of EXIF or XMP in a PNG, unpacked

_log = logging.getLogger("PIL")
_log.addHandler(logging.NullHandler())  # without one, Python prints what does not go on to others


@contextmanager
def _without_warnings_and_limits() -> Iterator[None]:
    limits = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
    propagate = _log.propagate
    with warnings.catch_warnings():
        # Broken metadata says nothing about the pixels.
        warnings.filterwarnings("ignore", message="(Possibly c|C)orrupt EXIF data", category=UserWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        # Pillow refuses more than 179 megapixels; every picture is checked here, against a limit that can be raised.
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = None, _LARGEST_TEXT
        _log.propagate = False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = limits
            _log.propagate = propagate


quiet_pillow = SharedContext(_without_warnings_and_limits)
"""Ignores warnings, limits and log of Pillow in a `with` body; it is shared, since these are the whole process's."""


def read_rgb(path: str | Path, *, at_least: int | None = None, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads a picture file.

    Args:
      path: the file; "-", or what a shell calls /dev/fd/N, for a pipe.
      at_least: None for every pixel. A number asks for a smaller picture, which is cheaper: the smallest one with a
        short side of at_least pixels or more that DCT scaling (JPEG: 1/2, 1/4, 1/8) or averaging whole blocks (other
        formats) can give, and the full size where the file is smaller. JPEGs are then decoded with libjpeg-turbo's
        faster DCT, and the halved chroma of most of them is repeated instead of interpolated: 6 % faster, and 42 dB
        (quality 98) to 45 dB (quality 75) from the exact result once the picture is reduced to 256 x 256.
      max_pixels: what has more is refused.

    Returns:
      uint8 (H, W, 3), sRGB, upright, on white paper where it is transparent, contiguous and writable.

    Raises:
      UserError: one sentence: missing, a directory, empty, not a picture, cut short, of an absurd size, or of a layout
        that is not supported.
    """
    return decode_rgb(read_bytes(path), name=str(path), at_least=at_least, max_pixels=max_pixels)


def decode_rgb(data: bytes, *, name: str, at_least: int | None = None, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes the bytes of a picture file as `read_rgb` does; `name` stands for the file in error sentences."""
    size = jpeg.plain_size(data)
    if size is not None:
        check_size(size, name, max_pixels)
        rgb = jpeg.decode(data, size, at_least)
        if rgb is not None:
            return rgb
    rgb = decode_picture(data, name=name, at_least=at_least, max_pixels=max_pixels).on_white()
    if at_least is not None and min(rgb.shape[:2]) // at_least >= 2:
        return np.array(Image.fromarray(rgb).reduce(min(rgb.shape[:2]) // at_least))
    return rgb if rgb.flags.writeable else rgb.copy()


def decode_picture(
    data: bytes,
    *,
    name: str,
    at_least: int | None = None,
    max_pixels: int = MAX_PIXELS,
    page: int | None = None,
) -> Picture:
    """Decodes the bytes of a picture file with all that they hold: 16 bits, transparency, notes.

    `at_least` makes JPEGs alone smaller. `page`: which of several pictures, from 0 on; None for the first, with a note
    about the others. Raises UserError as `read_rgb` does.
    """
    with quiet_pillow, damage_explained(name):
        format_ = format_of(data[:HEAD], name)
        pictures = tiff_pages.pictures(data) if format_ == "TIFF" else []
        if pictures:
            return decode_tiff(data, pictures, name, max_pixels, page)
        if format_ in ("RAW", "TIFF"):
            check_size(raw.size(data, name), name, max_pixels)
            return Picture(raw.develop(data, name))
        if format_ == "PNM":
            return _decode_pnm(data, name, max_pixels)
        if format_ == "JXL":  # its plugin decodes all pixels at once
            check_size(jpeg_xl.read_header(data).size, name, max_pixels)
        profile, codes = b"", None
        if format_ == "PNG":
            data, profile, codes = png.slim(data)
        with open_header(data, name) as picture:
            if page:
                picture.seek(page)
            check_size(_upright_size(picture), name, max_pixels)
            if format_ == "JPEG":
                check_scans(data, picture.size, name)
            profile = profile or picture.info.get("icc_profile") or embedded_profile(data, format_)
            if format_ in ("AVIF", "HEIF") and not profile:
                codes = color_codes(data)
            stored, turn = StoredPixels(name, profile if codes is None else b""), orientation(picture)
            stored.count(_frames(picture), page)
            if format_ == "JPEG" and not page:
                _take_jpeg(stored, picture, data, at_least)
            elif format_ == "PNG" and not page:
                _take_png(stored, picture, data)
            else:
                _take_any(stored, picture, data, name, page)
            if codes is not None:
                shaper, warning = shaper_of_codes(*codes)
                stored.convert(shaper)
                if warning:
                    stored.note(f"{name} {warning}.")
            elif format_ == "PNG" and not profile and "srgb" not in picture.info:
                stored.convert(shaper_of_chunks(picture.info.get("gamma"), picture.info.get("chromaticity")))
            return stored.upright(turn)


def _decode_pnm(data: bytes, name: str, max_pixels: int) -> Picture:
    check_size(pnm.read_header(data).size, name, max_pixels)
    stored = StoredPixels(name, b"")
    stored.take_samples(pnm.read_samples(data), None)
    return stored.upright(1)


def _take_any(stored: StoredPixels, picture: Image.Image, data: bytes, name: str, page: int | None) -> None:
    bits = deep_samples.bits_of(data, picture)
    samples = deep_samples.samples_of(data, picture, bits, name) if bits > 8 and not page else None
    if samples is not None:
        stored.take_samples(samples, None)
        return
    stored.take(picture)
    if bits > 8:
        stored.note(deep_samples.reduced(name, bits))


def _take_jpeg(stored: StoredPixels, picture: Image.Image, data: bytes, at_least: int | None) -> None:
    if picture.mode in ("RGB", "L"):
        gray = picture.mode == "L"
        pixels = jpeg.decode(data, picture.size, at_least, gray)
        if pixels is not None:
            stored.take_pixels(pixels[..., 0] if gray else pixels)
            return
    if at_least is not None:
        picture.draft(None, (at_least, at_least))  # type: ignore[arg-type]  # Pillow: None keeps the mode
    stored.take(picture)


def _take_png(stored: StoredPixels, picture: Image.Image, data: bytes) -> None:
    samples = png.samples_of_16_bits(data)
    if samples is not None:
        stored.take_samples(samples, picture.info.get("transparency"))
    else:
        png.scale_transparent_gray(picture, data)
        stored.take(picture)


def picture_size(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Reads width and height of the upright picture, and mostly no more than the file's header for it.

    Raises UserError as `read_rgb` does.
    """
    if is_pipe(path):
        return picture_size_of(read_bytes(path), name=str(path), max_pixels=max_pixels)
    with open_regular(path) as file:
        return picture_size_of(file, name=str(path), max_pixels=max_pixels)


def picture_size_of(data: bytes | BinaryIO, *, name: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Returns the `picture_size` of bytes that are already in memory, or of an open file."""
    size = jpeg.plain_size(data) if isinstance(data, bytes) else None
    if size is None:
        with quiet_pillow, damage_explained(name):
            size = _sizes_of_any(data, name)[0]
    check_size(size, name, max_pixels)
    return size


def page_sizes(path: str | Path) -> list[tuple[int, int]]:
    """Reads the `picture_size` of all pages or frames of a file, which may be too large ones.

    Raises UserError as `read_rgb` does.
    """
    if is_pipe(path):
        with quiet_pillow, damage_explained(str(path)):
            return _sizes_of_any(read_bytes(path), str(path), all_pages=True)
    with open_regular(path) as file, quiet_pillow, damage_explained(str(path)):
        return _sizes_of_any(file, str(path), all_pages=True)


def _sizes_of_any(data: bytes | BinaryIO, name: str, all_pages: bool = False) -> list[tuple[int, int]]:
    """Returns the size of the first picture, or of all."""
    if isinstance(data, bytes):
        format_ = format_of(data[:HEAD], name)
        file = io.BytesIO(data)
    else:
        format_ = format_of(data.read(HEAD), name)
        data.seek(0)
        file = data
    if format_ == "TIFF":
        content = data if isinstance(data, bytes) else mmap.mmap(data.fileno(), 0, access=mmap.ACCESS_READ)
        if pictures := tiff_pages.pictures(content):
            return [upright_size(page) for page in pictures]
        format_ = "RAW"
    if format_ == "RAW":
        return [raw.size(data, name)]
    if format_ == "PNM":
        return [pnm.read_header(file.read(pnm.LONGEST_HEADER)).size]
    if format_ == "JXL":
        return [jpeg_xl.read_header(file.read()).size]
    with open_header(png.header(file) if format_ == "PNG" else file, name) as picture:
        sizes = [_upright_size(picture)]
        if all_pages:
            frames = _frames(picture)
            if picture.format not in ALBUMS:
                return sizes * frames
            for page in range(1, frames):
                picture.seek(page)
                sizes.append(_upright_size(picture))
        return sizes


def orientation(picture: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8, of an opened picture; 1 where it has none or an invalid one."""
    if picture.format != "TIFF" and not _EXIF_KEYS & picture.info.keys():
        return 1  # getexif is slow even where there is none
    try:
        # Of a PNG, Pillow would decode the pixels first, to look behind them.
        exif = Image.Image.getexif(picture) if picture.format == "PNG" else picture.getexif()
        value = exif.get(ORIENTATION, 1)
    except Exception:  # whatever broken metadata raise
        return 1
    return value if value in range(1, 9) else 1


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    return (picture.height, picture.width) if orientation(picture) >= 5 else picture.size


def _frames(picture: Image.Image) -> int:
    try:
        return int(getattr(picture, "n_frames", 1))
    except Exception:  # a later frame is damaged
        return 1
