"""Reads those pictures of netpbm that Pillow does not, or reduces to 8 bits: 16-bit color, PAM, floats in color."""

import re
from dataclasses import dataclass

import numpy as np

from palgan_jax.data import levels

LONGEST_HEADER = 1 << 16
"""Bytes in which all of a header lies."""
_TOKEN = re.compile(rb"(?:\s|#[^\n]*\n)*([^\s#]+)")
_KINDS = {b"BLACKANDWHITE": 1, b"GRAYSCALE": 1, b"RGB": 3}
_ALPHA = b"_ALPHA"


@dataclass(frozen=True)
class Header:
    """The header of a picture.

    Attributes:
      magic: its first two bytes.
      size: width and height.
      channels: samples a pixel.
      top: the largest sample; of floats the scale, negative where the lowest byte comes first.
      start: where the samples begin.
    """

    magic: bytes
    size: tuple[int, int]
    channels: int
    top: float
    start: int


def read_header(data: bytes) -> Header:
    """Reads the header of P3, P6, P7 and PF. Raises ValueError where it makes no sense."""
    head = data[:LONGEST_HEADER]
    if head[:2] == b"P7":
        return _pam_header(head)
    at, tokens = 2, []
    for _ in range(3):
        match = _TOKEN.match(head, at)
        if match is None:
            raise ValueError("its header ends early")
        tokens.append(match[1])
        at = match.end()
    width, height = map(int, tokens[:2])
    top = float(tokens[2]) if head[:2] == b"PF" else int(tokens[2])
    return _sound(Header(head[:2], (width, height), 3, top, at + 1))


def _pam_header(head: bytes) -> Header:
    end = re.search(rb"\nENDHDR[ \t]*\n", head)
    if end is None:
        raise ValueError("its header has no end")
    lines = [line.split(None, 1) for line in head[: end.start()].splitlines()[1:] if not line.startswith(b"#")]
    fields = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    try:
        width, height, channels, top = (int(fields[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
    except KeyError as error:
        raise ValueError("its header lacks a number") from error
    kind = fields.get(b"TUPLTYPE", b"").upper()
    colors = _KINDS.get(kind.removesuffix(_ALPHA))
    if colors is not None and channels != colors + kind.endswith(_ALPHA):
        raise ValueError("its header contradicts itself")
    if colors is None and kind:
        raise ValueError(f"samples of the kind {kind[:40].decode('latin-1')} are not supported")
    return _sound(Header(b"P7", (width, height), channels, top, end.end()))


def _sound(header: Header) -> Header:
    numbers = header.magic == b"PF" or 0 < header.top < 65536
    if min(header.size) < 1 or not 1 <= header.channels <= 4 or not numbers or not abs(header.top) > 0:
        raise ValueError("its header makes no sense")
    return header


def is_wide(data: bytes) -> bool:
    """Returns True for color of more than 8 bits, which Pillow reduces."""
    return data[:2] in (b"P3", b"P6") and read_header(data).top > 255


def read_samples(data: bytes) -> np.ndarray:
    """Reads a picture: uint8 or uint16 (H, W, 1 to 4). Raises ValueError where samples are missing."""
    header = read_header(data)
    width, height = header.size
    count, shape = width * height * header.channels, (height, width, header.channels)
    if header.magic == b"P3":
        text = re.sub(rb"#[^\n]*", b"", data[header.start :])
        values = np.array([int(word) for word in text.split(None, count)[:count]], np.int64)
        if len(values) < count or values.min() < 0:
            raise ValueError("samples of it are missing")
        return levels.from_unsigned(np.minimum(values, int(header.top)).reshape(shape), int(header.top))
    if header.magic == b"PF":
        kind = np.dtype("<f4" if header.top < 0 else ">f4")
    else:
        kind = np.dtype("u1" if header.top < 256 else ">u2")
    if len(data) < header.start + count * kind.itemsize:
        raise ValueError("its data end early")
    values = np.frombuffer(data, kind, count, header.start).reshape(shape)
    if header.magic == b"PF":
        return levels.from_floats(values[::-1].astype(np.float32))  # the lowest row comes first
    native = values.astype(kind.newbyteorder("="), copy=False)
    return levels.from_unsigned(np.minimum(native, int(header.top)), int(header.top))
