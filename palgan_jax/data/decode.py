"""Decodes picture files of every format to upright sRGB, with one error sentence for whatever goes wrong.

JPEGs go through libjpeg-turbo (simplejpeg) with DCT scaling. Everything else, and JPEGs that it declines (CMYK, odd or
slightly damaged ones), goes through Pillow. Pillow also reads the headers, except those of plain JPEGs, which are most
training pictures, and of TIFFs. These rules hold for the whole project:

- EXIF orientation is applied, always: an array's first row is the top of the picture as a person sees it.
- Colors are converted to sRGB by the ICC profile, or by the gAMA and cHRM chunks of a PNG. A broken profile is left
  aside, and so is one that describes other colors than the picture has.
- `decode_picture` keeps 16 bits of gray, and of color in PNG and TIFF; other formats give 8 bits of color. Integers and
  floats of other ranges are scaled as `palgan_jax.data.levels` says.
- Transparency is kept by `decode_picture` and composited over white by `read_rgb`.
- The first picture of an animation or of a TIFF with several pages is read; reduced copies do not count.
- A side under 16 pixels, or more megapixels than the limit, is refused from the header, before any pixel is decoded.
"""

import io
import logging
import mmap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

from palgan_jax.data import jpeg, png, raw, tiff_pages, tiff_samples
from palgan_jax.data.embedded_profile import embedded_profile
from palgan_jax.data.file_bytes import is_pipe, open_regular, read_bytes
from palgan_jax.data.formats import HEAD, damage_explained, format_of, open_header
from palgan_jax.data.libtiff import silence
from palgan_jax.data.picture import Picture
from palgan_jax.data.stored_pixels import StoredPixels
from palgan_jax.errors import UserError
from palgan_jax.util.text import in_words
from palgan_jax.util.threads import SharedContext

MIN_SIDE = 16
MAX_PIXELS = 120_000_000
ORIENTATION = 0x0112
"""The EXIF tag."""

_EXIF_KEYS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}  # where Pillow's getexif looks
_LARGEST_TEXT = 64_000_000  # bytes of EXIF or XMP in a PNG, unpacked
_ALBUMS = ("MPO", "HEIF")  # whose pictures may differ in size
_MOST_BYTES = 16  # a pixel of the limit, unpacked: four channels of 32 bits

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
            return _decode_tiff(data, pictures, name, max_pixels, page)
        if format_ in ("RAW", "TIFF"):
            check_size(raw.size(data, name), name, max_pixels)
            return Picture(raw.develop(data, name))
        profile = b""
        if format_ == "PNG":
            data, profile = png.slim(data)
        with open_header(data, name) as picture:
            if page:
                picture.seek(page)
            check_size(_upright_size(picture), name, max_pixels)
            if format_ == "JPEG" and not jpeg.are_few_scans(data, picture.size):
                raise UserError(_too_many_scans(name))
            profile = profile or picture.info.get("icc_profile") or embedded_profile(data, format_)
            stored, turned = StoredPixels(name, profile), orientation(picture)
            stored.count(_frames(picture), page)
            if page:
                stored.take(picture)
            elif format_ == "JPEG":
                _take_jpeg(stored, picture, data, at_least)
            elif format_ == "PNG":
                _take_png(stored, picture, data, has_profile=bool(profile))
            else:
                stored.take(picture)
            return stored.upright(turned)


def _take_jpeg(stored: StoredPixels, picture: Image.Image, data: bytes, at_least: int | None) -> None:
    if picture.mode in ("RGB", "L"):
        rgb = jpeg.decode(data, picture.size, at_least)
        if rgb is not None:
            stored.take_pixels(rgb[..., 0] if picture.mode == "L" else rgb)
            return
    if at_least is not None:
        picture.draft(None, (at_least, at_least))  # type: ignore[arg-type]  # Pillow: None keeps the mode
    stored.take(picture)


def _take_png(stored: StoredPixels, picture: Image.Image, data: bytes, has_profile: bool) -> None:
    samples = png.samples_of_16_bits(data)
    if samples is not None:
        stored.take_samples(samples, picture.info.get("transparency"))
    else:
        png.scale_transparent_gray(picture, data)
        stored.take(picture)
    if not has_profile and "srgb" not in picture.info:
        stored.apply_chunks(picture.info.get("gamma"), picture.info.get("chromaticity"))


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
            return [_upright(page) for page in pictures]
        format_ = "RAW"
    if format_ == "RAW":
        return [raw.size(data, name)]
    with open_header(png.header(file) if format_ == "PNG" else file, name) as picture:
        sizes = [_upright_size(picture)]
        if all_pages:
            frames = _frames(picture)
            if picture.format not in _ALBUMS:
                return sizes * frames
            for page in range(1, frames):
                picture.seek(page)
                sizes.append(_upright_size(picture))
        return sizes


def check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raises UserError where a picture of a width and a height is too small or too large."""
    width, height = size
    if min(width, height) < MIN_SIDE:
        raise UserError(f"{name} is {width} x {height} pixels: each side must be at least {MIN_SIDE}.")
    if width * height > max_pixels:
        limit = f"more than the limit of {max_pixels / 1e6:g} megapixels"
        raise UserError(f"{name} is {width} x {height} pixels, {limit}: make it smaller or raise the limit.")


def _too_many_scans(name: str) -> str:
    return f"{name} is a JPEG of too many scans, which would take minutes: save it anew."


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


# ------------------------------------------------------------------------------------------------------------- TIFF


def _upright(page: tiff_pages.Page) -> tuple[int, int]:
    width, height = page.size
    return (height, width) if page.orientation >= 5 else (width, height)


def _decode_tiff(
    data: bytes, pictures: Sequence[tiff_pages.Page], name: str, max_pixels: int, number: int | None
) -> Picture:
    silence()
    page = pictures[number or 0]
    check_size(_upright(page), name, max_pixels)
    layout = tiff_samples.layout_of(page)
    if layout.nbytes > _MOST_BYTES * max_pixels:
        raise UserError(
            f"{name} unpacks to {in_words(layout.nbytes)}, more than the limit of {max_pixels / 1e6:g} "
            "megapixels allows: make it smaller or raise the limit."
        )
    if page.is_jpeg and not jpeg.are_few_scans(data, page.size, page.parts):
        raise UserError(_too_many_scans(name))
    stored = StoredPixels(name, page.profile)
    stored.count(len(pictures), number)
    if tiff_samples.is_left_to_pillow(page, layout):
        try:
            picture = Image.open(io.BytesIO(tiff_pages.with_page_first(data, page)), formats=("TIFF",))
        except Exception as error:
            raise _unsupported(name, tiff_samples.unsupported(page, layout)) or error from None
        with picture:
            picture.load()  # Pillow turns TIFFs by itself
            stored.take(picture)
            return stored.upright(1)
    problem = _unsupported(name, tiff_samples.unsupported(page, layout))
    if problem:
        raise problem
    colors = tiff_samples.colors_of(tiff_samples.read_samples(data, page, layout), page, layout)
    if colors.space in ("CMYK", "LAB"):
        channels = [Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(colors.pixels, -1, 0)]
        stored.take_cmyk_or_lab(_merged(colors.space, channels))
        stored.alpha = colors.alpha
    else:
        stored.take_pixels(colors.pixels, colors.alpha)
    return stored.upright(page.orientation)


def _merged(mode: str, channels: list[Image.Image]) -> Image.Image:
    if mode == "LAB":
        size, content = channels[0].size, np.dstack([np.asarray(channel) for channel in channels])
        return Image.frombytes("LAB", size, content.tobytes())
    return Image.merge(mode, channels)


def _unsupported(name: str, layout: str) -> UserError | None:
    return (
        UserError(f"{name} is a TIFF of {layout}, which is not supported: save it with 8 or 16 bits.")
        if layout
        else None
    )
