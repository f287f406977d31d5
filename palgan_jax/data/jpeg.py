"""Decodes JPEGs with libjpeg-turbo (simplejpeg), with DCT scaling, and reads their headers where they are plain."""

import numpy as np
import simplejpeg

_FRAME = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_PROGRESSIVE = 0xC2
_SCAN = 0xDA
_USUAL_SCANS, _MOST_SCANS, _SCANNED_PIXELS = 20, 500, 1_000_000_000
_SILENT = {0xC4, 0xDB, 0xDD, 0xFE, 0xE0, *range(0xE3, 0xF0)}  # tables, comments, and private data of programs


def plain_size(data: bytes) -> tuple[int, int] | None:
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
            return size if size is None or are_few_scans(data, size) else None
        elif marker not in _SILENT:
            return None
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return None


def are_few_scans(data: bytes, size: tuple[int, int], parts: int = 1) -> bool:
    """Returns False for a JPEG whose scans, each a pass over the whole picture, would take minutes to decode.

    Programs write about ten. A few bytes are enough for a scan, so that a tiny file may ask for thousands.

    Args:
      data: the bytes of the file.
      size: width and height.
      parts: number of JPEGs that the picture is cut into.
    """
    if parts == 1 and _has_one_scan(data):
        return True
    most_scans = min(max(_USUAL_SCANS, _SCANNED_PIXELS // max(1, size[0] * size[1])), _MOST_SCANS)
    return data.count(b"\xff\xda") <= most_scans * parts  # in the packed pixels, a zero follows each ff


def _has_one_scan(data: bytes) -> bool:
    """Returns True for a JPEG whose first scan holds all channels in full, as most do; decoders then read no other."""
    at, channels = 2, 0
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAME and marker != _PROGRESSIVE:
            channels = data[at + 9]
        elif marker == _SCAN:
            return data[at + 4] == channels
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return False


def decode(data: bytes, size: tuple[int, int], at_least: int | None, gray: bool = False) -> np.ndarray | None:
    """Returns the pixels as they lie in the file, (H, W, 3), or (H, W, 1) of a gray one if it is to stay `gray`.

    None where libjpeg-turbo declines it, and Pillow is to decide.
    """
    # libjpeg-turbo also scales by 3/8, 5/8 and so on, but slower than it decodes in full.
    scale, fast = dct_scale(size, at_least), at_least is not None
    width, height = decoded_size(size, at_least)
    try:
        return simplejpeg.decode_jpeg(
            data,
            "GRAY" if gray else "RGB",
            fastdct=fast,
            fastupsample=fast,
            min_height=height,
            min_width=width,
            min_factor=scale,
        )
    except ValueError:
        return None


def dct_scale(size: tuple[int, int], at_least: int | None) -> int:
    """Returns the largest of 8, 4, 2 and 1 that divides the short side into `at_least` pixels or more."""
    return next((k for k in (8, 4, 2) if at_least and -(-min(size) // k) >= at_least), 1)


def decoded_size(size: tuple[int, int], at_least: int | None) -> tuple[int, int]:
    """Returns the (width, height) that `decode` makes of a JPEG of this size; other formats never come out larger."""
    scale = dct_scale(size, at_least)
    return -(-size[0] // scale), -(-size[1] // scale)
