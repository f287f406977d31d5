"""Reads samples of more than 8 bits of formats for which Pillow gives 8: JPEG 2000, AVIF, HEIC and 16-bit PPM.

JPEG 2000 and AVIF of so many bits are decoded by OpenCV, of the extra `train`, which knows neither profiles nor
orientations: these are Pillow's to tell. Where it is not installed, and for layouts that it does not know, 8 bits of an
AVIF are taken and that is said; JPEG 2000 is refused, since Pillow shows its brightest samples as black there.
"""

import functools
from typing import Any

import numpy as np
from PIL import Image

from palgan_jax.data import jpeg_xl, pnm
from palgan_jax.data.boxes import bits_of_av1, inner
from palgan_jax.data.levels import from_unsigned
from palgan_jax.errors import UserError

_SIZ = b"\xff\x4f\xff\x51"
_COMPONENTS = 40  # where their number stands, behind the marker of SIZ
_YCC = 18


def bits_of(data: bytes, picture: Image.Image) -> int:
    """Returns the bits of a sample of a picture that Pillow has opened; 8 also for what it does not reduce."""
    if picture.mode.startswith(("F", "I")):
        return 8
    if picture.format == "JPEG2000":
        return max(_precisions(data), default=8)
    if picture.format == "AVIF":
        return bits_of_av1(data)
    if picture.format == "HEIF":
        return int(picture.info.get("bit_depth") or 8)
    if picture.format == "JXL":
        return jpeg_xl.read_header(data).bits
    return 16 if picture.format == "PPM" and pnm.is_wide(data) else 8


def samples_of(data: bytes, picture: Image.Image, bits: int, name: str) -> np.ndarray | None:
    """Decodes the first picture of a file to uint16 (H, W, 1 to 4); None where only Pillow's 8 bits can be had.

    Raises UserError where these would be wrong, and whatever decoders raise.
    """
    if picture.format == "PPM":
        return pnm.read_samples(data)
    if picture.format == "JXL":
        return None
    samples = _of_heic(data, picture, bits) if picture.format == "HEIF" else _by_opencv(data, picture)
    if samples is None and picture.format == "JPEG2000":
        raise UserError(
            f"{name} is a JPEG 2000 of {bits} bits in a layout that is not supported here: "
            "save it as a PNG or TIFF of 16 bits."
        )
    return None if samples is None else from_unsigned(samples, (1 << bits) - 1)


def reduced(name: str, bits: int) -> str:
    """Returns the sentence about a picture of which 8 bits are taken."""
    return f"{name} is of {bits} bits, of which 8 are taken: a PNG or TIFF of 16 bits keeps them."


def _precisions(data: bytes) -> list[int]:
    """Returns the bits of each component of a JPEG 2000, none where its header makes no sense."""
    at = data.find(_SIZ)
    if at < 0 or at + _COMPONENTS + 2 > len(data):
        return []
    count = int.from_bytes(data[at + _COMPONENTS : at + _COMPONENTS + 2], "big")
    return [(sample & 0x7F) + 1 for sample in data[at + _COMPONENTS + 2 :][: 3 * min(count, 64) : 3]]


def _is_plain(data: bytes, picture: Image.Image) -> bool:
    """Returns True for a JPEG 2000 whose components are R, G, B and opacity of the picture's size, without a table."""
    at = data.find(_SIZ) + _COMPONENTS
    parts = data[at + 2 :][: 3 * len(picture.getbands())]
    sampled = {parts[i] for i in range(len(parts)) if i % 3}
    alike = len(set(parts[::3])) == 1 and parts[0] < 0x80 and sampled == {1}
    spaces = [int.from_bytes(box[3:7], "big") for box in inner(data, b"jp2h", b"colr") if box[:1] == b"\1"]
    return alike and picture.mode in ("RGB", "RGBA") and _YCC not in spaces and not [*inner(data, b"jp2h", b"pclr")]


def _by_opencv(data: bytes, picture: Image.Image) -> np.ndarray | None:
    cv2 = _opencv()
    if cv2 is None or (picture.format == "JPEG2000" and not _is_plain(data, picture)):
        return None
    try:
        samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        samples = None
    if samples is None or samples.dtype != np.uint16:
        return None
    if samples.shape[1::-1] != picture.size:
        raise ValueError("its size is not that of its header")
    if samples.ndim == 2:
        return samples[..., None]
    return samples[..., [2, 1, 0, 3][: samples.shape[2]]]


@functools.cache
def _opencv() -> Any:
    """Returns OpenCV, kept from writing lines of its own; None where it is not installed."""
    try:
        import cv2
    except ModuleNotFoundError:
        return None
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def _of_heic(data: bytes, picture: Image.Image, bits: int) -> np.ndarray | None:
    import pillow_heif

    samples = np.asarray(pillow_heif.open_heif(data, convert_hdr_to_8bit=False, bgr_mode=False))
    if samples.dtype != np.uint16 or samples.shape[1::-1] != picture.size:
        return None
    return samples.reshape(*samples.shape[:2], -1) >> (16 - bits)
