"""Tells what a file is by its first bytes, never by its name, and opens it if it is a picture of a format that is read.

Pillow knows more formats than these, and some of its readers run programs: PostScript through Ghostscript. It is only
ever asked for the one format that the first bytes announce.
"""

import contextlib
import functools
import io
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from palgan_jax.errors import UserError, lacking, one_line

READ = "JPEG, PNG, TIFF, WebP, BMP, GIF, JPEG 2000, AVIF or PNM"
PICTURE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".gif",
        ".jp2",
        ".j2k",
        ".avif",
        ".pnm",
        ".pbm",
        ".pgm",
        ".ppm",
        ".pam",
        ".pfm",
        ".heic",
        ".heif",
        ".jxl",
    ]
)
"""Files of a folder that are taken for pictures; what they are is told by their bytes."""
HEAD = 64
"""Bytes that tell what a file is."""

_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (_JP2, "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\xff\x0a", "JXL"),
    *((head, "RAW") for head in (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
)
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_HEADERS = 4_000_000  # bytes in which the frame is looked for, behind EXIF and profiles
_PNM = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # their sizes in bytes
_OTHERS = (
    (b"%!", "a PostScript program"),
    (b"\x04%!", "a PostScript program"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript program"),
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop document"),
    (b"gimp xcf", "a GIMP document"),
    (b"\0\0\1\0", "an icon"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance picture"),
    (b"<svg", "an SVG drawing"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML document"),
    (b"PK\3\4", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a pointer of Git LFS"),
)
_HEIF = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
_PLUGINS = {"HEIF": ("HEIC", "pillow_heif"), "JXL": ("JPEG XL", "pillow_jxl")}
"""Format of Pillow -> its name, and the module that reads it."""


def format_of(head: bytes, name: str) -> str:
    """Returns the format of Pillow that the first bytes of a file (HEAD or more) announce.

    RAW stands for cameras' files, and PNM for the netpbm formats that Pillow does not read.

    Those of cameras that are TIFFs as well are told by `tiff_pages.pictures`.

    Raises UserError, which names what the file is where that is known, for every format that is not read.
    """
    for signature, format_ in _SIGNATURES:
        if head.startswith(signature):
            return format_
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] in _PNM and (head[2:3].isspace() or head[2:3] == b"#"):
        return "PPM"
    if head[:3] in (b"P7\n", b"PF\n"):
        return "PNM"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[4:8] == b"ftyp":
        return _iso_format(head, name)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for signature, title in _OTHERS:
        if head.startswith(signature) or text[: len(signature)].lower() == signature.lower():
            raise UserError(f"{name} is {title}, which is not read: give a {READ} file.")
    raise UserError(f"{name} is not a picture that can be read: give a {READ} file.")


def _iso_format(head: bytes, name: str) -> str:
    """Returns the format of a file of the ISO base media family by its brands. Raises UserError for films."""
    length = min(int.from_bytes(head[:4], "big"), HEAD)
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
    if brands[0] == b"crx ":
        return "RAW"
    if brands[0] in (b"avif", b"avis") or (brands[0] in (b"mif1", b"msf1") and {b"avif", b"avis"} & set(brands)):
        return "AVIF"
    if _HEIF & set(brands):
        return "HEIF"
    raise UserError(f"{name} is a film or a sound, which is not read: give a {READ} file.")


def open_header(data: bytes | BinaryIO, name: str) -> Image.Image:
    """Opens a picture with Pillow, which reads the header and no pixel.

    Raises UserError for a format that is not read or not installed, and whatever Pillow raises for a damaged header.
    """
    if isinstance(data, bytes):
        head, file = data[:HEAD], io.BytesIO(data)
    else:
        head, file = data.read(HEAD), data
        file.seek(0)
    format_ = format_of(head, name)
    if format_ in _PLUGINS:
        _register(format_, name)
    try:
        return Image.open(file, formats=(format_,))
    except UnidentifiedImageError:
        file.seek(0)
        kind = _unsupported_jpeg(file.read(_JPEG_HEADERS)) if format_ == "JPEG" else ""
        if not kind:
            raise
    raise UserError(f"{name} is {kind}, which is not supported: save it as a JPEG of 8 bits or as a PNG.")


def _unsupported_jpeg(data: bytes) -> str:
    """Returns what a JPEG that Pillow does not open is, in words; "" where it may be damaged."""
    at = 2
    while at + 5 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xF7:
            return "a JPEG-LS picture"
        if marker in _JPEG_FRAMES:
            bits = data[at + 4]
            return f"a JPEG of {bits} bits" if bits in range(2, 17) and bits != 8 else ""
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return ""


def _register(format_: str, name: str) -> None:
    """Registers a plugin of Pillow. Raises UserError where it is not installed."""
    title, module = _PLUGINS[format_]
    try:
        _import_plugin(module)
    except ModuleNotFoundError as error:
        raise lacking(f"{name} is a {title} picture", error) from None


@functools.cache
def _import_plugin(module: str) -> None:
    if module == "pillow_heif":
        import pillow_heif

        pillow_heif.register_heif_opener()
    else:
        import pillow_jxl  # noqa: F401 - it registers itself


@contextlib.contextmanager
def damage_explained(name: str) -> Iterator[None]:
    """Turns whatever a decoder raises, in a `with` body, into a UserError about the picture."""
    try:
        yield
    except (UserError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except UnidentifiedImageError:
        raise UserError(f"{name} is cut short or damaged (its header makes no sense): get the file again.") from None
    except MemoryError:
        raise UserError(f"{name} needs more memory than there is: make it smaller.") from None
    except BaseException as error:  # decoders in Rust raise a BaseException of their own
        reason = one_line(error)
        if "support" in reason:
            raise UserError(f"{name} is of a kind that is not read ({reason}): save it as a PNG file.") from None
        raise UserError(f"{name} is cut short or damaged ({reason}): get the file again.") from None
