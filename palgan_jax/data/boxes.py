"""The boxes of files of the ISO base media family: JPEG 2000, JPEG XL, AVIF and HEIC."""

import struct
from collections.abc import Iterator


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields kind and content of each box, up to one that makes no sense."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        start, end = at + 8, at + length if length else len(data)
        if length == 1 and at + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, at + 8)
            start, end = at + 16, at + length
        if end < start:
            return
        yield kind, data[start:end]
        at = end


def inner(data: bytes, *kinds: bytes) -> Iterator[bytes]:
    """Yields the contents of all boxes of a kind in boxes of a kind, and so on: `inner(data, b"jp2h", b"colr")`."""
    first, *others = kinds
    for kind, content in boxes(data):
        if kind == first:
            if others:
                yield from inner(content, *others)
            else:
                yield content


_DESCRIPTION = 1 << 20  # bytes in which that of an AVIF or HEIC lies


def color_codes(data: bytes) -> tuple[int, int] | None:
    """Returns the codes of primaries and curve that an AVIF or HEIC states; None where it states none."""
    at = data.find(b"colrnclx", 0, _DESCRIPTION)
    return struct.unpack_from(">HH", data, at + 8) if 0 <= at <= len(data) - 12 else None


def bits_of_av1(data: bytes) -> int:
    """Returns the bits of a sample that the first configuration of AV1 states; 8 where there is none."""
    at = data.find(b"av1C", 0, _DESCRIPTION)
    flags = data[at + 6] if 0 <= at < len(data) - 6 else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8
