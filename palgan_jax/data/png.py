"""Reads what Pillow does not give of a PNG: color profiles of any size, 16-bit color, past text of any size.

Pillow unpacks every text and profile of a PNG when it opens it, and takes one that is larger than its limit for damage.
Texts say nothing about the pixels but for EXIF and XMP, so that Pillow gets the file without the others.
"""

import io
import zlib
from typing import BinaryIO

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LARGEST_PROFILE = 64_000_000
"""Bytes; what is larger when it is unpacked is left aside."""

_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_ORIENTATION_IN = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"Raw profile type APP1\0")
_LONGEST_KEY = 80
_COLOR_16 = {2: ("RGB;16B", "RGB;16L"), 6: ("RGBA;16B", "RGBA;16L")}


def slim(data: bytes) -> tuple[bytes, bytes, tuple[int, int] | None]:
    """Takes profile and texts out of the bytes of a PNG.

    Returns the file that Pillow is to read; the profile, unpacked: empty where there is none, and no profile where it
    cannot be unpacked; and the codes of primaries and curve of cICP, where there is one.
    """
    pieces, profile, codes, start, at = [], b"", None, 0, len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        after = at + 12 + length
        if after > len(data):
            break
        text = kind in _TEXTS and not data.startswith(_ORIENTATION_IN, at + 8)
        if text or kind == b"iCCP":
            pieces.append(data[start:at])
            start = after
            if kind == b"iCCP":
                profile = profile or _unpacked(data[at + 8 : after - 4])
        if kind == b"cICP" and codes is None:
            primaries, curve, *rest = data[at + 8 : after - 4].ljust(4, b"\0")
            codes = (primaries, curve) if rest == [0, 1] else (0, 0)  # RGB of the full range, or else reserved numbers
        at = after
    return b"".join([*pieces, data[start:]]) if pieces else data, profile, codes


def header(file: BinaryIO) -> bytes:
    """Reads an open PNG up to its pixels, without texts and profile: what Pillow needs for size and orientation."""
    pieces = [file.read(len(SIGNATURE))]
    while len(start := file.read(8)) == 8:
        length, kind = int.from_bytes(start[:4], "big"), start[4:]
        if kind == b"IDAT":
            return b"".join([*pieces, start])
        key = file.read(min(length, _LONGEST_KEY))
        if kind == b"iCCP" or (kind in _TEXTS and not key.startswith(_ORIENTATION_IN)):
            file.seek(length + 4 - len(key), io.SEEK_CUR)
        else:
            pieces += [start, key, file.read(length + 4 - len(key))]
    return b"".join(pieces)


def _unpacked(chunk: bytes) -> bytes:
    """Returns the profile of an iCCP chunk; what is no profile stands for one that cannot be unpacked."""
    compressed = chunk[chunk.find(b"\0") + 2 :]
    try:
        unpacker = zlib.decompressobj()
        profile = unpacker.decompress(compressed, LARGEST_PROFILE)
    except zlib.error:
        return b"broken"
    return profile if unpacker.eof and profile else b"broken"


def scale_transparent_gray(picture: Image.Image, data: bytes) -> None:
    """Scales the gray that is transparent, of 2 or 4 bits, as Pillow scales the pixels."""
    bits, color = data[24], data[25]
    gray = picture.info.get("transparency")
    if color == 0 and bits in (2, 4) and isinstance(gray, int):
        picture.info["transparency"] = gray * 255 // ((1 << bits) - 1)


def samples_of_16_bits(data: bytes) -> np.ndarray | None:
    """Decodes a PNG of 16-bit color, or gray with alpha, to uint16 (H, W, 2, 3 or 4); None for every other PNG.

    Pillow has no mode for these. It is asked twice, for the upper and for the lower bytes.
    """
    bits, color = data[24], data[25]
    if bits != 16 or color not in (2, 4, 6):
        return None
    if color == 4:
        # Four bytes a pixel, read as they are.
        halves = _decoded(data, "RGBA").astype(np.uint16)
        return halves[..., ::2] << 8 | halves[..., 1::2]
    upper, lower = (_decoded(data, rawmode) for rawmode in _COLOR_16[color])
    return upper.astype(np.uint16) << 8 | lower


def _decoded(data: bytes, rawmode: str) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
        picture.tile = [tile._replace(args=rawmode) for tile in picture.tile]
        return np.asarray(picture)
