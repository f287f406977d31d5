"""What a picture file says beside its pixels, as far as it is true of the result: captions, dates, names, places.

What described the pixels of the source is left out or set right: orientation, since results are upright, sizes, color
profiles, thumbnails and other pictures inside the file.
"""

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import ExifTags, Image, IptcImagePlugin

from palgan_jax import __version__

MARK = "palgan_jax"
"""How the EXIF tag ProcessingSoftware of every result begins, so that none is taken for a photograph."""

_Tag = ExifTags.Base
_XMP_KEY = "XML:com.adobe.xmp"
# Of the main directory: how pixels are stored, and what has a place of its own elsewhere.
_OF_PIXELS = (
    {0x00FE, 0x00FF, *range(0x0100, 0x0108), 0x010A, 0x0111, *range(0x0115, 0x011A), 0x011C, 0x0122, 0x0123, 0x012D}
    | {0x013D, 0x013E, 0x013F, 0x0140, 0x0141, *range(0x0142, 0x0146), 0x014A, *range(0x014C, 0x0157), 0x015B}
    | {*range(0x0200, 0x0215), 0x02BC, 0x0112, 0x83BB, 0x8649, 0x8773, 0x8769, 0x8825, 0xA005}
    | {_Tag.XResolution, _Tag.YResolution, _Tag.ResolutionUnit, _Tag.ProcessingSoftware}
)
# A TIFF's directory is the file itself and may hold anything: only what describes a photograph is taken.
_OF_TIFF = {
    _Tag.DocumentName, _Tag.ImageDescription, _Tag.Make, _Tag.Model, _Tag.PageName, _Tag.Software, _Tag.DateTime,
    _Tag.Artist, _Tag.HostComputer, _Tag.Copyright, 0x4746, 0x4749, *range(0x9C9B, 0x9CA0),
}  # fmt: skip
# PNG keyword -> EXIF tag -> record of IPTC
_TEXTS = (
    ("Description", _Tag.ImageDescription, (2, 120)),
    ("Author", _Tag.Artist, (2, 80)),
    ("Copyright", _Tag.Copyright, (2, 116)),
    ("Creation Time", _Tag.DateTime, None),
    ("Software", _Tag.Software, None),
)
_DATE = re.compile(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d")
_LAYOUT_TEXT = re.compile(r'\s*(\{"shape"|ImageJ=|<\?xml[^>]*>\s*<OME|<OME)')  # how scientific programs describe arrays


@dataclass(frozen=True)
class Metadata:
    """What the result of a picture keeps.

    Attributes:
      exif: EXIF with orientation 1, the mark of a result, and the resolution.
      xmp: an XMP packet; empty where there is none.
      text: PNG's texts by keyword, completed from EXIF.
      comment: that of a JPEG or GIF.
      dpi: pixels per inch across and down; None where it is unknown.
    """

    exif: Image.Exif
    xmp: bytes = b""
    text: Mapping[str, str] = field(default_factory=dict)
    comment: bytes = b""
    dpi: tuple[float, float] | None = None


def read_metadata(picture: Image.Image, turned: bool) -> Metadata:
    """Reads what an opened picture says; what is damaged is left out.

    Args:
      picture: the picture, of which the header was read.
      turned: whether the result's sides are swapped, since the file is stored lying.
    """
    source = _attempt(picture.getexif, Image.Exif())
    texts = _texts(picture)
    dpi = _dpi(picture, source)
    if dpi is not None and turned:
        dpi = dpi[1], dpi[0]
    exif = _exif(picture, source)
    iptc = _attempt(lambda: IptcImagePlugin.getiptcinfo(picture), None)  # type: ignore[arg-type]  # any opened one
    _complete(exif, texts, iptc or {})
    exif[_Tag.Orientation] = 1
    exif[_Tag.ProcessingSoftware] = f"{MARK} {__version__}"
    if dpi is not None:
        exif[_Tag.XResolution], exif[_Tag.YResolution], exif[_Tag.ResolutionUnit] = (*dpi, 2)
    comment = picture.info.get("comment", b"")
    comment = comment.encode("utf-8", "replace") if isinstance(comment, str) else bytes(comment)
    return Metadata(_that_can_be_written(exif), _xmp(picture), texts, comment[:65000], dpi)


def no_metadata() -> Metadata:
    """Returns what every result says."""
    exif = Image.Exif()
    exif[_Tag.Orientation], exif[_Tag.ProcessingSoftware] = 1, f"{MARK} {__version__}"
    return Metadata(exif)


def is_marked(picture: Image.Image) -> bool:
    """Returns True where an opened picture says that it is a result of `palgan colorize`."""
    value = _attempt(lambda: picture.getexif().get(_Tag.ProcessingSoftware), "")
    return isinstance(value, str) and value.startswith(MARK)


def _attempt(function, default):
    """Calls a reader of metadata; the default where they are broken, which says nothing about the pixels."""
    try:
        return function()
    except Exception:
        return default


# ---------------------------------------------------------------------------------------------------------------- EXIF


def _exif(picture: Image.Image, source: Image.Exif) -> Image.Exif:
    """Returns the EXIF of the source without what described its pixels."""
    exif = Image.Exif()
    for tag, value in _attempt(lambda: dict(source), {}).items():
        if tag not in _OF_PIXELS and (picture.format != "TIFF" or tag in _OF_TIFF):
            exif[tag] = _in_bytes(value)
    described = exif.get(_Tag.ImageDescription)
    if described and _LAYOUT_TEXT.match(_to_text(described)):
        del exif[_Tag.ImageDescription]
    for part in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        values = {tag: _in_bytes(value) for tag, value in _attempt(lambda part=part: source.get_ifd(part), {}).items()}
        interop = _attempt(lambda: source.get_ifd(ExifTags.IFD.Interop), {}) if part == ExifTags.IFD.Exif else {}
        values.pop(ExifTags.IFD.Interop, None)
        if part == ExifTags.IFD.Exif:
            for tag in (_Tag.ExifImageWidth, _Tag.ExifImageHeight):
                values.pop(tag, None)
            if values:
                values[_Tag.ColorSpace] = 1  # sRGB
            if interop:
                values[ExifTags.IFD.Interop] = dict(interop)
        if values:
            exif[part] = values
    return exif


def _in_bytes(value: Any) -> Any:
    """Returns a text with letters beyond ASCII as the bytes that it was read from, which Pillow writes as they are."""
    return value.encode("latin-1", "replace") if isinstance(value, str) and not value.isascii() else value


def _to_text(value: Any) -> str:
    """Returns a text of EXIF or IPTC, whose encoding is not stated."""
    data = value if isinstance(value, bytes) else str(value).encode("latin-1", "replace")
    data = data.rstrip(b"\0 ")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _complete(exif: Image.Exif, texts: dict[str, str], iptc: Mapping[Any, Any]) -> None:
    """Adds the captions, names and dates that one of EXIF, PNG's texts and IPTC has, and others lack."""
    for keyword, tag, record in _TEXTS:
        if exif.get(tag):
            texts.setdefault(keyword, _to_text(exif[tag]))
            continue
        value = texts.get(keyword, "")
        if not value and record in iptc:
            values = iptc[record] if isinstance(iptc[record], list) else [iptc[record]]
            value = ", ".join(_to_text(part) for part in values)
            texts[keyword] = value
        if value and (tag != _Tag.DateTime or _DATE.fullmatch(value)):
            exif[tag] = value if value.isascii() else value.encode()


def _that_can_be_written(exif: Image.Exif) -> Image.Exif:
    """Returns the EXIF, or as much of it as Pillow can write."""
    for part in ((), (ExifTags.IFD.Exif,), (ExifTags.IFD.GPSInfo,)):
        for tag in part:
            exif.pop(tag, None)
        if _attempt(exif.tobytes, None) is not None:
            return exif
    return no_metadata().exif


# ------------------------------------------------------------------------------------------ XMP, texts, resolution


def _xmp(picture: Image.Image) -> bytes:
    """Returns the XMP packet, upright and without thumbnails."""
    xmp = picture.info.get("xmp", b"") or picture.info.get(_XMP_KEY, b"")
    xmp = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else bytes(xmp)
    xmp = re.sub(rb"(?s)<xmp:Thumbnails\b[^>]*>.*?</xmp:Thumbnails>", b"", xmp)
    xmp = re.sub(rb"""(tiff:Orientation\s*=\s*["'])\d+""", rb"\g<1>1", xmp)
    return re.sub(rb"(<tiff:Orientation\b[^>]*>\s*)\d+", rb"\g<1>1", xmp).strip(b"\0")


def _texts(picture: Image.Image) -> dict[str, str]:
    """Returns the texts of a PNG but for those that programs use to hold other metadata."""
    if picture.format != "PNG":
        return {}
    texts = {key: str(value) for key, value in picture.info.items() if isinstance(key, str) and isinstance(value, str)}
    other_keys = (_XMP_KEY, "xmp", "Raw profile type ")
    return {key: value for key, value in texts.items() if not key.startswith(other_keys) and 0 < len(key.encode()) < 80}


def _dpi(picture: Image.Image, exif: Image.Exif) -> tuple[float, float] | None:
    """Returns the resolution in pixels per inch, where it is stated and makes sense."""
    dpi: Any = picture.info.get("dpi")
    if dpi is None and picture.format not in ("JPEG", "TIFF"):
        unit = {2: 1.0, 3: 2.54}.get(_attempt(lambda: exif.get(_Tag.ResolutionUnit, 2), 2))
        resolutions = [_attempt(lambda tag=tag: float(exif[tag]), 0.0) for tag in (_Tag.XResolution, _Tag.YResolution)]
        dpi = [value * unit for value in resolutions] if unit else None
    try:
        across, down = (float(value) for value in dpi or ())
    except (TypeError, ValueError, ArithmeticError, struct.error):
        return None
    sound = all(math.isfinite(value) and 1 <= value <= 100_000 for value in (across, down))
    return (across, down) if sound else None
