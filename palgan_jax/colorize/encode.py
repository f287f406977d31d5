"""Formats of results, and their encoding.

PNG is the default, also for JPEGs: only a format without loss keeps every pixel's luminance, which is what the method
promises, and a scan that is compressed a second time has lost for good. `same` is for those who want their albums as
they are: each result has the format and the suffix of its picture, where that can be written.
"""

import functools
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from palgan_jax.colorize.deep_formats import Bands, TooLarge, png_of_bands, tiff_of_bands
from palgan_jax.colorize.metadata import Metadata
from palgan_jax.data.levels import to_bytes
from palgan_jax.errors import UserError, one_line


@dataclass(frozen=True)
class Format:
    """A format that results can have.

    Attributes:
      title: its name for people.
      suffixes: the file names' endings; the first is that of new names.
      quality: what is taken where none is asked for; None for a format without loss.
      takes_alpha: whether it holds transparency.
      takes_16_bits: whether it is written with 16 bits.
    """

    title: str
    suffixes: tuple[str, ...]
    quality: int | None = None
    takes_alpha: bool = True
    takes_16_bits: bool = False


FORMATS = {
    "png": Format("PNG", (".png",), takes_16_bits=True),
    "jpeg": Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), quality=95, takes_alpha=False),
    "webp": Format("WebP", (".webp",), quality=90),
    "tiff": Format("TIFF", (".tif", ".tiff"), takes_16_bits=True),
    "avif": Format("AVIF", (".avif",), quality=85),
}
SAME = "same"
_PNG_LEVEL = 4  # of zlib: beyond it, files hardly become smaller
# Bytes that readers take, above all Pillow (compressed) and libpng.
_LONGEST_COMPRESSED_TEXT, _LONGEST_TEXT = 900_000, 4_000_000


def format_of_suffix(path: PurePath) -> str | None:
    """Returns the format that a file name's ending announces; None where results cannot have it."""
    suffix = path.suffix.lower()
    return next((name for name, format_ in FORMATS.items() if suffix in format_.suffixes), None)


def result_suffix(kind: str, source: PurePath) -> str:
    """Returns the ending of the result's name, for a format or SAME, and a source."""
    if kind == SAME:
        return source.suffix if format_of_suffix(source) else FORMATS["png"].suffixes[0]
    return FORMATS[kind].suffixes[0]


def encode(pixels: np.ndarray, metadata: Metadata, kind: str, quality: int | None, name: str) -> bytes:
    """Encodes a picture.

    Args:
      pixels: sRGB (H, W, 3), or (H, W, 4) with the opacity, of which a format without transparency shows what lies on
        white paper; uint8, or uint16, which PNG and TIFF keep.
      metadata: what the file says beside the pixels.
      kind: a key of FORMATS.
      quality: 1 to 100, where the format has one; 100 is without loss in WebP. None for the format's default.
      name: the file, for errors.

    Raises UserError where the format cannot hold the picture.
    """
    return _encode(_pixels_for(pixels, kind), metadata, kind, quality, name)


def _pixels_for(pixels: np.ndarray, kind: str) -> np.ndarray:
    """Returns what a format can hold of a picture's pixels: on white paper, where it has no transparency."""
    if FORMATS[kind].takes_alpha or pixels.shape[-1] == 3:
        return pixels
    picture = Image.fromarray(to_bytes(pixels))
    return np.asarray(Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB"))


def _encode(pixels: np.ndarray | Image.Image, metadata: Metadata, kind: str, quality: int | None, name: str) -> bytes:
    quality = quality or FORMATS[kind].quality
    problem: Exception | None = None
    for candidate in (metadata, Metadata(_least(metadata.exif), dpi=metadata.dpi)):
        try:
            return _ENCODERS[kind](pixels, candidate, quality)
        except TooLarge as error:  # by its pixels
            raise _unfit(name, kind, error) from error
        except Exception as error:
            # Once more without metadata: some are larger than the format takes.
            problem = problem or error
    assert problem is not None
    raise _unfit(name, kind, problem)


def _unfit(name: str, kind: str, problem: Exception) -> UserError:
    return UserError(
        f"{name} cannot be written as {FORMATS[kind].title} ({one_line(problem)}): choose another --format."
    )


def _least(exif: Image.Exif) -> Image.Exif:
    least = Image.Exif()
    for tag in (0x000B, 0x0112):
        if tag in exif:
            least[tag] = exif[tag]
    return least


def _png(pixels: np.ndarray, metadata: Metadata, _: int | None) -> bytes:
    if pixels.dtype == np.uint16:
        return b"".join(_png_of_bands(Bands.of(pixels), metadata))
    return _by_pillow(pixels, "PNG", compress_level=_PNG_LEVEL, **_png_options(metadata))


def encode_bands(bands: Bands, metadata: Metadata, kind: str, quality: int | None, name: str) -> Iterator[bytes]:
    """Yields the pieces of the file of a picture that comes in bands of rows.

    As PNG and TIFF, it is never in memory as a whole; as the others, its 8 bits are.

    Args:
      bands: the picture.
      metadata, kind, quality, name: see `encode`.

    Raises UserError where the format cannot hold the picture.
    """
    if kind not in _BAND_ENCODERS:
        yield _encode(_whole(bands, kind), metadata, kind, quality, name)
        return
    try:
        _ENCODERS[kind](np.zeros((1, 1, 3), np.uint8), metadata, None)
    except Exception:
        metadata = Metadata(_least(metadata.exif), dpi=metadata.dpi)  # as `encode` does
    try:
        yield from _BAND_ENCODERS[kind](bands, metadata)
    except TooLarge as error:
        raise _unfit(name, kind, error) from error


def _whole(bands: Bands, kind: str) -> Image.Image:
    """Returns what a format can hold of a picture that comes in bands of rows, with 8 bits."""
    height, width, channels = bands.shape
    picture = Image.new("RGBA" if channels == 4 and FORMATS[kind].takes_alpha else "RGB", (width, height))
    top = 0
    for band in bands.rows:
        picture.paste(Image.fromarray(_pixels_for(to_bytes(band), kind)), (0, top))
        top += len(band)
    return picture


def _png_of_bands(bands: Bands, metadata: Metadata) -> Iterator[bytes]:
    return png_of_bands(bands, _PNG_LEVEL, **_png_options(metadata))


def _png_options(metadata: Metadata) -> dict[str, Any]:
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"sRGB", b"\0")
    for key, value in metadata.text.items():
        size = len(value.encode("utf-8", "replace"))
        if size > _LONGEST_TEXT:
            continue
        compress = 1000 < size < _LONGEST_COMPRESSED_TEXT
        try:
            value.encode("latin-1")
            chunks.add_text(key, value, zip=compress)
        except UnicodeEncodeError:
            chunks.add_itxt(key, value, zip=compress)
    if metadata.comment and "Comment" not in metadata.text:
        chunks.add_itxt("Comment", metadata.comment.decode("utf-8", "replace"))
    if metadata.xmp:
        chunks.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
    return {"pnginfo": chunks, "exif": metadata.exif.tobytes(), **_dpi(metadata)}


def _jpeg(pixels: np.ndarray | Image.Image, metadata: Metadata, quality: int | None) -> bytes:
    options: dict[str, Any] = {"icc_profile": srgb_profile(), "exif": metadata.exif.tobytes(), **_dpi(metadata)}
    if metadata.xmp:
        options["xmp"] = metadata.xmp
    if metadata.comment:
        options["comment"] = metadata.comment
    # Full chroma resolution: color is what was added.
    return _by_pillow(pixels, "JPEG", quality=quality, subsampling="4:4:4", **options)


def _webp(pixels: np.ndarray | Image.Image, metadata: Metadata, quality: int | None) -> bytes:
    options = {"exif": metadata.exif.tobytes(), "xmp": metadata.xmp, "icc_profile": srgb_profile(), "method": 4}
    lossless = {"lossless": True, "exact": True, "quality": 50} if quality == 100 else {"quality": quality}
    return _by_pillow(pixels, "WEBP", **options, **lossless)


def _avif(pixels: np.ndarray | Image.Image, metadata: Metadata, quality: int | None) -> bytes:
    options: dict[str, Any] = {"exif": _without_orientation(metadata.exif).tobytes(), "icc_profile": srgb_profile()}
    if metadata.xmp:
        options["xmp"] = metadata.xmp
    return _by_pillow(pixels, "AVIF", quality=quality, subsampling="4:4:4", speed=8, **options)


def _tiff(pixels: np.ndarray, metadata: Metadata, _: int | None) -> bytes:
    return b"".join(_tiff_of_bands(Bands.of(pixels), metadata))


def _tiff_of_bands(bands: Bands, metadata: Metadata) -> Iterator[bytes]:
    return tiff_of_bands(bands, _without_orientation(metadata.exif), metadata.xmp, srgb_profile(), metadata.dpi)


_ENCODERS = {"png": _png, "jpeg": _jpeg, "webp": _webp, "avif": _avif, "tiff": _tiff}
_BAND_ENCODERS = {"png": _png_of_bands, "tiff": _tiff_of_bands}  # that need no whole picture


def _without_orientation(exif: Image.Exif) -> Image.Exif:
    """Returns a copy without the tag: where Pillow meets it in AVIF and TIFF, it writes all others anew, and worse."""
    copy = Image.Exif()
    for tag, value in exif.items():
        if tag != 0x0112:
            copy[tag] = value
    return copy


def _by_pillow(pixels: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(to_bytes(pixels))
    picture.save(file, kind, **options)
    return file.getvalue()


def _dpi(metadata: Metadata) -> dict[str, Any]:
    return {} if metadata.dpi is None else {"dpi": metadata.dpi}


@functools.cache
def srgb_profile() -> bytes:
    """Returns an ICC profile of sRGB, the same bytes at every time."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    date = bytes.fromhex("07d0 0001 0001 0000 0000 0000")  # it has the time of its making at this place
    return profile[:24] + date + profile[36:]
