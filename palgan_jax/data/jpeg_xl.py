"""Reads the header of a JPEG XL picture (ISO/IEC 18181-1), before its plugin, which decodes all pixels at once, may.

Bits come from the lowest of each byte on. Numbers that are mostly small have a choice of two bits before them.
"""

from dataclasses import dataclass

from palgan_jax.data.boxes import boxes

_CODESTREAM = b"\xff\x0a"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_HEADER = 256  # bytes in which all lies that is read


@dataclass(frozen=True)
class Header:
    """What the header says.

    Attributes:
      size: width and height, upright.
      bits: those of a sample of color.
      is_float: whether samples are floats.
      is_animated: whether it has frames.
    """

    size: tuple[int, int]
    bits: int = 8
    is_float: bool = False
    is_animated: bool = False


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value, self._bits_left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._bits_left:
            raise ValueError("its header ends early")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self._bits_left -= count
        return value

    def choose(self, *choices: tuple[int, int]) -> int:
        """Takes a number of one of four kinds: a start, and how many bits are added to it."""
        start, count = choices[self.take(2)]
        return start + self.take(count)


def read_header(data: bytes) -> Header:
    """Reads the header of a file. Raises ValueError where it makes no sense."""
    bits = _Bits(_codestream(data)[len(_CODESTREAM) :])
    size = _size(bits)
    if bits.take(1):  # all as usual
        return Header(size)
    is_turned = animated = False
    if bits.take(1):
        is_turned = bits.take(3) >= 4
        if bits.take(1):
            _size(bits)
        if bits.take(1):
            _preview_size(bits)
        animated = bool(bits.take(1))
        if animated:
            bits.choose((100, 0), (1000, 0), (1, 10), (1, 30))
            bits.choose((1, 0), (1001, 0), (1, 8), (1, 10))
            bits.choose((0, 0), (0, 3), (0, 16), (0, 32))
            bits.take(1)
    is_float = bool(bits.take(1))
    kinds = ((32, 0), (16, 0), (24, 0), (1, 6)) if is_float else ((8, 0), (10, 0), (12, 0), (1, 6))
    width, height = size
    return Header((height, width) if is_turned else size, bits.choose(*kinds), is_float, animated)


def _codestream(data: bytes) -> bytes:
    """Returns the begin of the pictures' own data, which may lie in a box."""
    if data.startswith(_CODESTREAM):
        return data[:_HEADER]
    for kind, content in boxes(data):
        if kind == b"jxlc":
            return content[:_HEADER]
        if kind == b"jxlp":  # parts, each behind its number
            return content[4 : 4 + _HEADER]
    raise ValueError("it has no picture")


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else bits.choose((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    ratio = bits.take(3)
    return (_by_ratio(height, ratio) if ratio else side()), height


def _preview_size(bits: _Bits) -> None:
    small = bits.take(1)
    kinds = ((16, 0), (32, 0), (1, 5), (33, 9)) if small else ((1, 6), (65, 8), (321, 10), (1345, 12))
    bits.choose(*kinds)
    if not bits.take(3):
        bits.choose(*kinds)


def _by_ratio(height: int, ratio: int) -> int:
    across, down = _RATIOS[ratio]
    return height * across // down
