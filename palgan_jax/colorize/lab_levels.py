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

PIECE = 1 << 16
"""Pixels that are worked on at a time."""
_HALVINGS = 12  # of the interval of chroma that fits
_STEPS = 1 << 16  # of light, in the tables of the sRGB curve
_RGB = RGB_FROM_WHITE_XYZ.astype(np.float32)


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


def _linear(l: np.ndarray, a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """Converts Lab (N,) each to linear R, G and B (N,), as `color.lab_to_linear` does."""
    fy = (l + np.float32(16)) * np.float32(1 / 116)
    fz = fy - b * np.float32(1 / 200)
    return _mixed(_expanded(fy + a * np.float32(1 / 500)), _expanded(fy), _expanded(np.maximum(fz, 0, out=fz)))


def _mixed(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> list[np.ndarray]:
    """Converts shares (N,) of the white's X, Y and Z to linear R, G and B."""
    light = []
    for row in _RGB:
        channel = row[0] * x
        channel += row[1] * y
        channel += row[2] * z
        light.append(channel)
    return light


def _expanded(f: np.ndarray) -> np.ndarray:
    """Does what `color.expand` does; few colors are so dark that its linear part is needed."""
    light = f * f
    light *= f
    if f.min(initial=1) < DARK:
        dark = np.flatnonzero(f < DARK)
        light[dark] = expand(f[dark])
    return light


def _in_gamut(light: Sequence[np.ndarray]) -> np.ndarray:
    red, green, blue = light
    low, high = np.minimum(red, green), np.maximum(red, green)
    np.minimum(low, blue, out=low)
    np.maximum(high, blue, out=high)
    return (low >= np.float32(LEAST_LIGHT)) & (high <= np.float32(MOST_LIGHT))


def _chroma_share(l: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the largest share (N,) of the chroma of colors that is in gamut, as `color.gamut_share` does.

    By bisection; the lower end is always inside, however the gamut is shaped.
    """
    fy = (l + np.float32(16)) * np.float32(1 / 116)
    y, along_x, along_z = _expanded(fy), a * np.float32(1 / 500), b * np.float32(-1 / 200)
    low, step = np.zeros_like(fy), np.float32(1)
    for _ in range(_HALVINGS):
        step /= 2
        share = low + step
        fz = fy + share * along_z
        light = _mixed(_expanded(fy + share * along_x), y, _expanded(np.maximum(fz, 0, out=fz)))
        low += step * _in_gamut(light)
    return low


def _write_levels(light: Sequence[np.ndarray], levels: np.ndarray) -> None:
    """Rounds linear R, G and B (N,), clamped to [0, 1], to sRGB levels (N, 3)."""
    table = _levels_of_light(levels.dtype.type)
    for i, channel in enumerate(light):
        step = channel * np.float32(_STEPS)
        np.clip(step, 0, _STEPS, out=step)
        if levels.dtype == np.uint8:
            step += np.float32(0.5)
            levels[:, i] = table[step.astype(np.int32)]
        else:
            below = np.minimum(step.astype(np.int32), _STEPS - 1)
            start = table[below]
            levels[:, i] = start + (step - below) * (table[below + 1] - start) + np.float32(0.5)


@cache
def _levels_of_light(kind: type[np.integer]) -> np.ndarray:
    """Returns the levels of light in even steps from 0 to 1, (_STEPS + 1,).

    Bytes are rounded: a step is at most a 20th of a level. Levels of 16 bits are float32, to be interpolated between.
    """
    levels = np.iinfo(kind).max * linear_to_srgb(np.linspace(0, 1, _STEPS + 1))
    return np.round(levels).astype(kind) if kind is np.uint8 else levels.astype(np.float32)
