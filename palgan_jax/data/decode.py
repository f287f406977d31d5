"""Decodes picture files of every format to upright 8-bit sRGB, with one error sentence for whatever goes wrong.

JPEGs go through libjpeg-turbo (simplejpeg) with DCT scaling. Everything else, and JPEGs that it declines (CMYK, odd or
slightly damaged ones), goes through Pillow. Pillow also reads the headers, except those of plain JPEGs, which are most
training pictures. These rules hold for the whole project:

- EXIF orientation is applied, always: an array's first row is the top of the picture as a person sees it.
- An embedded ICC profile other than sRGB is converted to sRGB (relative colorimetric); an unusable one is ignored.
- Transparency is composited over white. 16 bits become 8. Gray float pictures are read as 0..1, 0..255 or 0..65535,
  whichever is the smallest range that holds their largest value.
- The first picture of an animation or of a TIFF with several pages is read.
- A side under 16 pixels, or more than 120 megapixels, is refused from the header, before any pixel is decoded.
"""

import functools
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import simplejpeg
from PIL import Image, ImageCms, ImageOps

from palgan_jax.data.formats import damage_explained, open_header
from palgan_jax.errors import UserError, one_line
from palgan_jax.util.threads import SharedContext

MIN_SIDE = 16
MAX_PIXELS = 120_000_000
ORIENTATION = 0x0112
"""The EXIF tag."""

_EXIF_KEYS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}  # where Pillow's getexif looks


@contextmanager
def _ignore_warnings() -> Iterator[None]:
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        # Broken metadata says nothing about the pixels.
        warnings.filterwarnings("ignore", message="(Possibly c|C)orrupt EXIF data", category=UserWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        # Pillow refuses more than 179 megapixels; every picture is checked here.
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


quiet_pillow = SharedContext(_ignore_warnings)
"""Ignores the warnings of Pillow in a `with` body; it is shared, since filters of warnings are the whole process's."""


def read_rgb(path: str | Path, *, at_least: int | None = None) -> np.ndarray:
    """Reads a picture file.

    Args:
      path: the file.
      at_least: None for every pixel. A number asks for a smaller picture, which is cheaper: the smallest one with a
        short side of at_least pixels or more that DCT scaling (JPEG: 1/2, 1/4, 1/8) or averaging whole blocks (other
        formats) can give, and the full size where the file is smaller. JPEGs are then decoded with libjpeg-turbo's
        faster DCT, and the halved chroma of most of them is repeated instead of interpolated: 6 % faster, and 42 dB
        (quality 98) to 45 dB (quality 75) from the exact result once the picture is reduced to 256 x 256.

    Returns:
      uint8 (H, W, 3), sRGB, upright, contiguous and writable.

    Raises:
      UserError: one sentence: missing, a directory, empty, not a picture, cut short, of an absurd size.
    """
    return decode_rgb(read_bytes(path), name=str(path), at_least=at_least)


def read_bytes(path: str | Path) -> bytes:
    """Reads the bytes of a file. Raises UserError where it is missing, empty or cannot be read."""
    with (
        _system_errors_explained(path),
        open(path, "rb", buffering=0) as file,  # noqa: PTH123 - a Path takes as long to make as the file to read
    ):
        data = file.readall()
    if not data:
        raise UserError(f"{path} is empty (0 bytes): get the file again.")
    return data


@contextmanager
def _system_errors_explained(path: str | Path) -> Iterator[None]:
    """Turns errors of the system, in a `with` body, into a UserError about the file."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"there is no file {path}: check the path.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a directory, not a picture file: name a file in it.") from None
    except PermissionError:
        # On Windows directories give this error, too.
        problem = (
            "is a directory, not a picture file: name a file in it"
            if Path(path).is_dir()
            else "may not be read: check its permissions"
        )
        raise UserError(f"{path} {problem}.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}): check the path.") from None


def decode_rgb(data: bytes, *, name: str, at_least: int | None = None) -> np.ndarray:
    """Decodes the bytes of a picture file as `read_rgb` does; `name` stands for the file in error sentences."""
    size = _plain_jpeg_size(data)
    if size is not None:
        _check_size(size, name)
        rgb = _decode_jpeg(data, size, at_least)
        if rgb is not None:
            return rgb
    with quiet_pillow, damage_explained(name), open_header(data, name) as picture:
        _check_size(_upright_size(picture), name)
        if size is None and picture.format in ("JPEG", "MPO") and picture.mode in ("RGB", "L"):
            rgb = _decode_jpeg(data, picture.size, at_least)
            if rgb is not None:
                return _finish_jpeg(rgb, picture)
        return _decode_pillow(picture, at_least)


def picture_size(path: str | Path) -> tuple[int, int]:
    """Reads width and height of the upright picture, and no more than the file's header for it.

    Raises UserError as `read_rgb` does.
    """
    with _system_errors_explained(path), Path(path).open("rb") as file:
        if not file.peek(1):
            raise UserError(f"{path} is empty (0 bytes): get the file again.")
        return picture_size_of(file, name=str(path))


def picture_size_of(data: bytes | BinaryIO, *, name: str) -> tuple[int, int]:
    """Returns the `picture_size` of bytes that are already in memory, or of an open file."""
    size = _plain_jpeg_size(data) if isinstance(data, bytes) else None
    if size is not None:
        _check_size(size, name)
        return size
    with quiet_pillow, damage_explained(name), open_header(data, name) as picture:
        size = _upright_size(picture)
        _check_size(size, name)
        return size


def _check_size(size: tuple[int, int], name: str) -> None:
    """Raises UserError where a picture is too small or too large."""
    width, height = size
    if min(width, height) < MIN_SIDE:
        raise UserError(f"{name} is {width} x {height} pixels: each side must be at least {MIN_SIDE}.")
    if width * height > MAX_PIXELS:
        limit = f"more than the limit of {MAX_PIXELS // 1_000_000} megapixels"
        raise UserError(f"{name} is {width} x {height} pixels, {limit}: make it smaller.")


def orientation(picture: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8, of an opened picture; 1 where it has none or an invalid one."""
    if picture.format != "TIFF" and not _EXIF_KEYS & picture.info.keys():
        return 1  # getexif is slow even where there is none
    try:
        value = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # whatever broken metadata raise
        return 1
    return value if value in range(1, 9) else 1


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    # Pillow turns TIFF by itself, and its size is the turned one from the start.
    turned = picture.format != "TIFF" and orientation(picture) >= 5
    return (picture.height, picture.width) if turned else picture.size


# ---------------------------------------------------------------- JPEG through libjpeg-turbo

_FRAME = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_SCAN = 0xDA
_SILENT = {0xC4, 0xDB, 0xDD, 0xFE, 0xE0, *range(0xE3, 0xF0)}  # tables, comments, and private data of programs


def _plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Returns width and height of a plain JPEG; None for anything else, whose header Pillow has to read.

    A plain JPEG has nothing that changes how its pixels are shown: no EXIF or XMP (APP1, with the orientation), no ICC
    profile and no further picture (APP2); and it is gray or has three channels of 8 bits. This takes a tenth of the
    time that Pillow needs to open it.
    """
    if data[:2] != b"\xff\xd8":
        return None
    at, size = 2, None
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAME:
            if data[at + 4] != 8 or data[at + 9] not in (1, 3):
                return None
            size = data[at + 7] << 8 | data[at + 8], data[at + 5] << 8 | data[at + 6]
        elif marker == _SCAN:
            return size
        elif marker not in _SILENT:
            return None
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return None


def _decode_jpeg(data: bytes, size: tuple[int, int], at_least: int | None) -> np.ndarray | None:
    """Returns the pixels as they lie in the file; None where libjpeg-turbo declines it, and Pillow is to decide."""
    # libjpeg-turbo also scales by 3/8, 5/8 and so on, but slower than it decodes in full.
    scale, fast = _dct_scale(size, at_least), at_least is not None
    width, height = decoded_size(size, at_least)
    try:
        return simplejpeg.decode_jpeg(
            data, "RGB", fastdct=fast, fastupsample=fast, min_height=height, min_width=width, min_factor=scale
        )
    except ValueError:
        return None


def _dct_scale(size: tuple[int, int], at_least: int | None) -> int:
    """Returns the largest of 8, 4, 2 and 1 that divides the short side into `at_least` pixels or more."""
    return next((k for k in (8, 4, 2) if at_least and -(-min(size) // k) >= at_least), 1)


def decoded_size(size: tuple[int, int], at_least: int | None) -> tuple[int, int]:
    """Returns the (width, height) that `read_rgb` makes of a JPEG of this size; other formats never come out larger."""
    scale = _dct_scale(size, at_least)
    return -(-size[0] // scale), -(-size[1] // scale)


def _finish_jpeg(rgb: np.ndarray, header: Image.Image) -> np.ndarray:
    """Converts the pixels of a JPEG to sRGB and turns them upright, as its header says."""
    profile = header.info.get("icc_profile")
    if profile:
        # A gray JPEG arrives here as RGB already; its profile describes gray and is left aside.
        rgb = np.array(_to_srgb(Image.fromarray(rgb), profile))
    return np.ascontiguousarray(_turn(rgb, orientation(header)))


def _turn(rgb: np.ndarray, stored: int) -> np.ndarray:
    """Turns pixels (H, W, 3), stored with an EXIF orientation, upright."""
    if stored >= 5:
        rgb = rgb.swapaxes(0, 1)
    # What remains after the transposition: mirrored left-right, upside down.
    mirrored, flipped = {2: (1, 0), 3: (1, 1), 4: (0, 1), 6: (1, 0), 7: (1, 1), 8: (0, 1)}.get(stored, (0, 0))
    return rgb[:: -1 if flipped else 1, :: -1 if mirrored else 1]


# ---------------------------------------------------------------- everything else through Pillow


def _decode_pillow(picture: Image.Image, at_least: int | None) -> np.ndarray:
    if at_least is not None and picture.format in ("JPEG", "MPO"):
        picture.draft(None, (at_least, at_least))  # type: ignore[arg-type]  # Pillow: None keeps the mode
    picture.load()
    profile = picture.info.get("icc_profile")
    upright = ImageOps.exif_transpose(picture) if orientation(picture) != 1 else picture
    rgb = _flatten(upright, profile)
    if at_least is not None and min(rgb.size) // at_least >= 2:
        rgb = rgb.reduce(min(rgb.size) // at_least)
    return np.array(rgb)


def _flatten(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts a picture of any mode to RGB: 8 bits, sRGB, opaque."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return _wide_gray(np.asarray(picture))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        alpha = picture.getchannel("A")
        opaque = _to_srgb(picture.convert("RGB"), profile)
        white = Image.new("RGB", picture.size, "white")
        return Image.composite(opaque, white, alpha)
    if picture.mode == "LAB":
        return _to_srgb(picture, profile=None)
    if picture.mode not in ("RGB", "L", "CMYK"):
        picture = picture.convert("RGB")
    return _to_srgb(picture, profile)


def _wide_gray(values: np.ndarray) -> Image.Image:
    """Converts one channel of 16-bit integers, 32-bit integers (taken as 0..65535) or floats to RGB."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        top = next((t for t in (1.0, 255.0, 65535.0) if values.max() <= t), float(values.max()))
    else:
        top = 65535.0
    gray = np.clip(values * (255.0 / top), 0, 255)
    return Image.fromarray(np.rint(gray).astype(np.uint8)).convert("RGB")


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts RGB, L, CMYK or LAB to RGB, through the profile if there is one that is not sRGB and fits the mode."""
    if profile or picture.mode == "LAB":
        try:
            transform = _icc_transform(profile, picture.mode)
            if transform is not None:
                return ImageCms.applyTransform(picture, transform)  # type: ignore[return-value]  # not in place: returns a picture
        except Exception:  # of a broken profile
            pass
    return picture.convert("RGB")


@functools.lru_cache(maxsize=32)
def _icc_transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns the transform from a profile (None: CIE Lab) to sRGB; None where the profile is sRGB itself.

    Raises PyCMSError where the profile is broken or does not fit the mode.
    """
    if profile is None:
        source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    else:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", renderingIntent=intent)
