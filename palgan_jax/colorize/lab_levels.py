"""Lab colors of a picture as sRGB levels of the same luminance (method: section 9).

A color outside the sRGB gamut goes towards gray at constant L until it is inside, where a plain clamp would change how
light it is. Rounding to bytes moves L by less than 0.3.

Work goes over planes of L, a and b in pieces that stay in a processor's cache; the sRGB curve is a table, since powers
take longer than all the rest.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from palgan_jax.color import DARK, LEAST_LIGHT, MOST_LIGHT, RGB_FROM_WHITE_XYZ, expand, linear_to_srgb

PIECE = 1 << 15
"""Pixels that are worked on at a time."""
_HALVINGS = 12  # of the interval of chroma that fits
_STEPS = 1 << 16  # of light, in the tables of the sRGB curve
_RGB = RGB_FROM_WHITE_XYZ.astype(np.float32)
_ONE_THREAD = 1 << 17  # multiplications of a product that OpenBLAS leaves to one thread


class LevelWriter:
    """Writes Lab colors into levels (N, 3), uint8 or uint16: those out of the gamut later, many at once."""

    def __init__(self, levels: np.ndarray) -> None:
        self._levels = levels
        self._waiting: list[tuple[np.ndarray, list[np.ndarray]]] = []
        self._count = 0

    def write(self, start: int, lab: Sequence[np.ndarray]) -> None:
        """Writes colors, L, a and b of which are float32 (M,), to the pixels from `start` on."""
        for first in range(0, len(lab[0]), PIECE):
            piece = [plane[first : first + PIECE] for plane in lab]
            light = _linear(*piece)
            begin = start + first
            _write_levels(light, self._levels[begin : begin + len(piece[0])])
            outside = np.flatnonzero(~_in_gamut(light))
            if len(outside):
                self._waiting.append((outside + begin, [plane[outside] for plane in piece]))
                self._count += len(outside)
                if self._count >= PIECE:
                    self.finish()

    def finish(self) -> None:
        """Writes the colors that wait, of the nearest chroma that fits."""
        if not self._waiting:
            return
        places, colors = zip(*self._waiting, strict=True)
        self._waiting, self._count = [], 0
        place, (l, a, b) = np.concatenate(places), map(np.concatenate, zip(*colors, strict=True))
        levels = np.empty((len(place), 3), self._levels.dtype)
        for first in range(0, len(place), PIECE // 4):  # more planes are in hand
            part = slice(first, first + PIECE // 4)
            share = _chroma_share(l[part], a[part], b[part])
            _write_levels(_linear(l[part], share * a[part], share * b[part]), levels[part])
        self._levels[place] = levels


def lab_to_levels(lab: np.ndarray, deep: bool = False) -> np.ndarray:
    """Converts Lab colors (N, 3), L in [0, 100], to sRGB (N, 3) of the same luminance: uint8, or uint16 if `deep`."""
    levels = np.empty((len(lab), 3), np.uint16 if deep else np.uint8)
    writer = LevelWriter(levels)
    writer.write(0, [np.ascontiguousarray(lab[:, i], np.float32) for i in range(3)])
    writer.finish()
    return levels


def _linear(l: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Converts Lab (N,) each to linear RGB (3, N), as `color.lab_to_linear` does."""
    return _mixed(*_prepared(l, a, b))


def _prepared(l: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns the arguments of `_mixed` for Lab (N,) each."""
    fy = (l + np.float32(16)) * np.float32(1 / 116)
    xyz = np.empty((3, len(l)), np.float32)
    _expand(fy, xyz[1])
    return fy, a * np.float32(1 / 500), b * np.float32(-1 / 200), xyz


def _mixed(fy: np.ndarray, along_x: np.ndarray, along_z: np.ndarray, xyz: np.ndarray) -> np.ndarray:
    """Converts colors to linear RGB (3, N), of roots of light (N,): that of Y, and how far X and Z are from it.

    xyz: (3, N), shares of the white's light, of which the middle one is known and the others are written here.
    """
    _expand(fy + along_x, xyz[0])
    fz = fy + along_z
    _expand(np.maximum(fz, 0, out=fz), xyz[2])
    return product(_RGB, xyz)


def product(matrix: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Multiplies a matrix (M, K) with many columns (K, N) on one thread: the others have other work.

    OpenBLAS, which shares large products among threads of its own, is given parts.
    """
    result = np.empty((len(matrix), columns.shape[1]), np.float32)
    width = max(1, _ONE_THREAD // matrix.size)
    for first in range(0, columns.shape[1], width):
        part = slice(first, first + width)
        np.matmul(matrix, columns[:, part], out=result[:, part])
    return result


def _expand(f: np.ndarray, light: np.ndarray) -> None:
    """Writes what `color.expand` returns into `light`; few colors are so dark that its linear part is needed."""
    np.multiply(f, f, out=light)
    light *= f
    if f.min(initial=1) < DARK:
        dark = np.flatnonzero(f < DARK)
        light[dark] = expand(f[dark])


def _in_gamut(light: np.ndarray) -> np.ndarray:
    red, green, blue = light
    low, high = np.minimum(red, green), np.maximum(red, green)
    np.minimum(low, blue, out=low)
    np.maximum(high, blue, out=high)
    return (low >= np.float32(LEAST_LIGHT)) & (high <= np.float32(MOST_LIGHT))


def _chroma_share(l: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the largest share (N,) of the chroma of colors that is in gamut, as `color.gamut_share` does.

    By bisection; the lower end is always inside, however the gamut is shaped.
    """
    fy, along_x, along_z, xyz = _prepared(l, a, b)
    low, step = np.zeros_like(fy), np.float32(1)
    for _ in range(_HALVINGS):
        step /= 2
        share = low + step
        low += step * _in_gamut(_mixed(fy, share * along_x, share * along_z, xyz))
    return low


def _write_levels(light: np.ndarray, levels: np.ndarray) -> None:
    """Rounds linear R, G and B (N,), clamped to [0, 1], to sRGB levels (N, 3)."""
    table = _levels_of_light(levels.dtype.type)
    for i, channel in enumerate(light):
        step = channel * np.float32(_STEPS)
        np.clip(step, 0, _STEPS, out=step)
        if levels.dtype == np.uint8:
            step += np.float32(0.5)
            levels[:, i] = table.take(step.astype(np.int32))  # half the time of an index in brackets
        else:
            below = np.minimum(step.astype(np.int32), _STEPS - 1)
            start = table.take(below)
            levels[:, i] = start + (step - below) * (table.take(below + 1) - start) + np.float32(0.5)


@cache
def _levels_of_light(kind: type[np.integer]) -> np.ndarray:
    """Returns the levels of light in even steps from 0 to 1, (_STEPS + 1,).

    Bytes are rounded: a step is at most a 20th of a level. Levels of 16 bits are float32, to be interpolated between.
    """
    levels = np.iinfo(kind).max * linear_to_srgb(np.linspace(0, 1, _STEPS + 1))
    return np.round(levels).astype(kind) if kind is np.uint8 else levels.astype(np.float32)
