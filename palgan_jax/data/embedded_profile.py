"""Finds the color profile in files of formats from which Pillow does not take it: JPEG 2000, BMP and GIF."""

import struct

from palgan_jax.data.boxes import inner

_BMP_HEADER = 14
_BMP_V5 = 124
_GIF_BLOCK = b"\x21\xff\x0bICCRGBG1012"


def embedded_profile(data: bytes, format_: str) -> bytes:
    """Returns the profile in the bytes of a file of one of Pillow's formats; empty where it has none."""
    if format_ == "JPEG2000":
        return _of_jpeg_2000(data)
    if format_ == "BMP":
        return _of_bmp(data)
    return _of_gif(data) if format_ == "GIF" else b""


def _of_jpeg_2000(data: bytes) -> bytes:
    for specification in inner(data, b"jp2h", b"colr"):
        if specification[:1] in (b"\2", b"\3"):  # a profile, where 1 is a number
            return specification[3:]
    return b""


def _of_bmp(data: bytes) -> bytes:
    if len(data) < _BMP_HEADER + _BMP_V5 or struct.unpack_from("<I", data, _BMP_HEADER)[0] < _BMP_V5:
        return b""
    if data[_BMP_HEADER + 56 : _BMP_HEADER + 60] != b"DEBM":  # "MBED", as a number
        return b""
    start, size = struct.unpack_from("<II", data, _BMP_HEADER + 112)
    return data[_BMP_HEADER + start : _BMP_HEADER + start + size]


def _of_gif(data: bytes) -> bytes:
    at = data.find(_GIF_BLOCK)
    if at < 0:
        return b""
    at, pieces = at + len(_GIF_BLOCK), []
    while at < len(data) and data[at]:
        pieces.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(pieces)
