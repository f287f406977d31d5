"""Scales samples of every number type to levels: uint8 where that holds them all, otherwise uint16."""

import numpy as np

_INTEGER_TOPS = (255, 65535, 2**32 - 1)
_FLOAT_TOPS = (1.0, 255.0, 65535.0, float(2**32 - 1))
_OVERSHOOT = 1.1
"""What resizing with a sharp filter adds to white at most, and a share of a range that is no range of its own."""
_GLARE = 4
"""What the brightest 5 % of samples may be, in units of white, where the others end there."""
_DARK = 16
"""Samples that fill less than this part of a range are scaled to their own instead of shown as nearly black."""
_BAND = 1 << 20  # samples that are scaled at once, so that no copy of a whole picture in floats is made


def from_unsigned(values: np.ndarray, top: int) -> np.ndarray:
    """Scales unsigned integers, of which `top` is the largest, to uint8 where top is at most 255, else to uint16."""
    full, dtype = (255, np.uint8) if top <= 255 else (65535, np.uint16)
    if top == full:
        return values.astype(dtype, copy=False)
    return _scaled(values, 0, top, dtype)


def from_integers(values: np.ndarray, bits: int, top: int = 0) -> np.ndarray:
    """Scales integers whose range the file does not state, such as 32-bit or signed ones.

    Where a share of them is clearly negative, black is the smallest number of their type. Otherwise negative ones are
    overshoots, and the range is `top` where it is given, or the smallest of 255, 65535 (of 16 bits: 32767) and
    4294967295 that holds them.
    """
    signed = values.dtype.kind == "i"
    low, _, high = _bulk(values)
    if signed and low < -0.1 * max(high, 1):
        half = 1 << (bits - 1)
        return _scaled(values, -half, half - 1, np.uint8 if bits <= 8 else np.uint16)
    largest = (1 << (bits - signed)) - 1
    top = top or next((t for t in _INTEGER_TOPS if t <= largest and high <= t), largest)
    return _scaled(values, 0, top, np.uint8 if top <= 255 else np.uint16)


def from_floats(values: np.ndarray) -> np.ndarray:
    """Scales floats to uint16: white is 1, 255, 65535 or 4294967295, whichever is the smallest that holds nearly all.

    Some larger numbers, as resizing and highlights leave them, are white. Numbers between two ranges, of which the
    larger would show them as nearly black, are scaled to their own range. Where many are negative, black is -white. NaN
    is black.
    """
    low, bulk, high = _bulk(values)
    largest = max(high, -low)
    top = next((t for t in _FLOAT_TOPS if largest <= t * (_OVERSHOOT if bulk > t * _OVERSHOOT else _GLARE)), largest)
    if top > 1 and largest < top / _DARK:
        top = largest
    black = -top if low < -0.25 * top else 0.0
    return _scaled(values, black, top, np.uint16)


def to_bytes(levels: np.ndarray) -> np.ndarray:
    """Rounds levels, uint8 or uint16, to uint8."""
    if levels.dtype == np.uint8:
        return levels
    result = np.empty(levels.shape, np.uint8)
    for source, target in _bands(levels, result):
        target[...] = (source.astype(np.uint32) * 255 + 32767) // 65535
    return result


def _bulk(values: np.ndarray) -> tuple[float, float, float]:
    """Returns the numbers below which 1 of 200, 95 of 100 and 199 of 200 lie; of large pictures by a sample of them."""
    flat = values.reshape(-1)
    with np.errstate(invalid="ignore"):  # some of what is no number
        sample = flat[:: max(1, flat.size // _BAND)].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 0.0, 0.0
    low, bulk, high = np.quantile(sample, (0.005, 0.95, 0.995))
    return float(low), float(bulk), float(high)


def _scaled(values: np.ndarray, black: float, white: float, dtype: type) -> np.ndarray:
    """Maps black..white to the whole range of dtype, rounded and clipped; NaN is 0."""
    full = np.iinfo(dtype).max
    result = np.empty(values.shape, dtype)
    for source, target in _bands(values, result):
        with np.errstate(over="ignore", invalid="ignore"):
            share = (source.astype(np.float64) - black) * (full / (white - black))
        target[...] = np.rint(np.clip(np.nan_to_num(share, nan=0.0, posinf=full, neginf=0.0), 0, full))
    return result


def _bands(source: np.ndarray, target: np.ndarray):
    """Yields bands of rows of both arrays."""
    rows = max(1, _BAND // max(1, source[:1].size))
    for top in range(0, len(source), rows):
        yield source[top : top + rows], target[top : top + rows]
