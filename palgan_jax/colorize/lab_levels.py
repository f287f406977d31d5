"""Lab colors of a picture as sRGB levels of the same luminance (method: section 9).

A color outside the sRGB gamut goes towards gray at constant L until it is inside, where a plain clamp would change how
light it is. Rounding to bytes moves L by less than 0.3.

Work goes over planes of L, a and b in pieces that stay in a processor's cache, in arrays that are used again for the
next piece; the sRGB curve is a table, since powers take longer than all the rest.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from palgan_jax.color import DARK, DARK_SLOPE, LEAST_LIGHT, MOST_LIGHT, RGB_FROM_WHITE_XYZ, linear_to_srgb

PIECE = 1 << 17
"""Pixels that are worked on at a time: with fewer, threads wait longer for the interpreter's lock than they work."""
_HALVINGS = 12  # of the interval of chroma that fits
_STEPS = round(-1 / LEAST_LIGHT)  # of light, in the tables of the sRGB curve
_RGB_STEPS = (_STEPS * RGB_FROM_WHITE_XYZ).astype(np.float32)
_MOST_STEPS = int(_STEPS * MOST_LIGHT)  # in gamut; of less than no light, a part of a step is, too
_MOST_ROOT = np.float32(4)  # of light that is far out of the gamut, and still of steps that int32 holds
_ONE_THREAD = 1 << 17  # multiplications of a product that OpenBLAS leaves to one thread


class LevelWriter:
    """Writes Lab colors into levels (N, 3), uint8 or uint16: those out of the gamut later, many at once."""

    def __init__(self, levels: np.ndarray) -> None:
        self._levels = levels
        self._light = _Light(min(PIECE, len(levels)))
        self._waiting: list[tuple[np.ndarray, list[np.ndarray]]] = []
        self._count = 0

    def write(self, start: int, lab: Sequence[np.ndarray]) -> None:
        """Writes colors, L, a and b of which are float32 (M,), to the pixels from `start` on."""
        for first in range(0, len(lab[0]), PIECE):
            piece = [plane[first : first + PIECE] for plane in lab]
            begin = start + first
            self._light.take(*piece)
            is_outside = self._light.outside()
            self._light.write(self._levels[begin : begin + len(piece[0])])
            if is_outside.any():
                outside = np.flatnonzero(is_outside)
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
        place, lab = np.concatenate(places), [np.concatenate(planes) for planes in zip(*colors, strict=True)]
        levels = np.empty((len(place), 3), self._levels.dtype)
        for first in range(0, len(place), PIECE):
            part = slice(first, first + PIECE)
            self._light.take_in_gamut(*(plane[part] for plane in lab))
            self._light.write(levels[part])
        self._levels[place] = levels


def lab_to_levels(lab: np.ndarray, deep: bool = False) -> np.ndarray:
    """Converts Lab colors (N, 3), L in [0, 100], to sRGB (N, 3) of the same luminance: uint8, or uint16 if `deep`."""
    levels = np.empty((len(lab), 3), np.uint16 if deep else np.uint8)
    writer = LevelWriter(levels)
    writer.write(0, [np.ascontiguousarray(lab[:, i], np.float32) for i in range(3)])
    writer.finish()
    return levels


class _Light:
    """The linear R, G and B of up to `size` colors, in steps of the tables, in arrays that are used again."""

    def __init__(self, size: int) -> None:
        self._floats = np.empty(10 * size, np.float32)
        self._integers = np.empty(3 * size, np.int32)
        self._flags = np.empty(3 * size, np.bool_)

    def take(self, l: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """Takes Lab (N,) each, as `color.lab_to_linear` converts it."""
        self._take_gray(l)
        np.multiply(a, np.float32(1 / 500), out=self._roots[0])
        np.multiply(b, np.float32(-1 / 200), out=self._roots[1])
        self._mix()

    def take_in_gamut(self, l: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """Takes Lab (N,) each, with the largest share of its chroma that is in gamut, as `color.gamut_share` has it.

        By bisection; the lower end is always inside, however the gamut is shaped.
        """
        self._take_gray(l)
        chroma = np.stack([a * np.float32(1 / 500), b * np.float32(-1 / 200)])
        share, step = np.zeros_like(l), np.float32(1)
        for _ in range(_HALVINGS):
            step /= 2
            share += step
            np.multiply(chroma, share, out=self._roots)
            self._mix()
            share -= step * self.outside()
        np.multiply(chroma, share, out=self._roots)
        self._mix()

    def _take_gray(self, l: np.ndarray) -> None:
        """Takes the L (N,) of colors, and makes room for as many."""
        count = len(l)
        planes = self._floats[: 10 * count].reshape(10, count)
        self._gray, gray, self._roots, self._xyz, self._rgb = *planes[:2], planes[2:4], planes[4:7], planes[7:]
        self._steps = self._integers[: 3 * count].reshape(3, count)
        self._is_out = self._flags[: 3 * count].reshape(3, count)
        np.multiply(l, np.float32(1 / 116), out=self._gray)
        self._gray += np.float32(16 / 116)
        np.copyto(gray, self._gray)
        _expand(gray, self._xyz[1])

    def _mix(self) -> None:
        """Computes R, G and B, of how far the cube roots of X and Z are from that of Y."""
        self._roots += self._gray
        for roots, light in zip(self._roots, self._xyz[::2], strict=True):
            _expand(roots, light)
        product(_RGB_STEPS, self._xyz, self._rgb)
        self._steps[:] = self._rgb

    def outside(self) -> np.ndarray:
        """Returns which colors (N,) are out of the gamut."""
        # Below 0, as an unsigned integer, is far above 1.
        np.greater(self._steps.view(np.uint32), np.uint32(_MOST_STEPS), out=self._is_out)
        red, green, blue = self._is_out
        return red | green | blue

    def write(self, levels: np.ndarray) -> None:
        """Rounds R, G and B, clamped, to sRGB levels (N, 3), and uses them up."""
        table = _levels_of_light(levels.dtype.type)
        if levels.dtype == np.uint8:
            for i, steps in enumerate(self._steps):
                levels[:, i] = table.take(steps, mode="clip")  # half the time of an index in brackets
            return
        np.clip(self._rgb, np.float32(0), np.float32(_STEPS - 0.01), out=self._rgb)
        self._steps[:] = self._rgb
        for i, (light, steps) in enumerate(zip(self._rgb, self._steps, strict=True)):
            light -= steps.astype(np.float32)
            start = table.take(steps, mode="clip")
            light *= table[1:].take(steps, mode="clip") - start
            light += start
            light += np.float32(0.5)
            levels[:, i] = light


def _expand(roots: np.ndarray, light: np.ndarray) -> None:
    """Writes what `color.expand` returns of Lab's roots (N,) within [0, _MOST_ROOT]; changes the roots."""
    least = roots.min(initial=1)
    if roots.max(initial=0) > _MOST_ROOT:
        np.minimum(roots, _MOST_ROOT, out=roots)
    curved = roots
    if least < DARK:  # below, light is linear: a straight line, beside the cube of what is not dark
        if least < 0:
            np.maximum(roots, 0, out=roots)
        curved = np.clip(roots, np.float32(DARK), np.float32(np.inf))
        roots -= curved
        roots *= np.float32(DARK_SLOPE)
    np.multiply(curved, curved, out=light)
    light *= curved
    if curved is not roots:
        light += roots


def product(matrix: np.ndarray, columns: np.ndarray, result: np.ndarray | None = None) -> np.ndarray:
    """Multiplies a matrix (M, K) with many columns (K, N) on one thread: the others have other work.

    OpenBLAS, which shares large products among threads of its own, is given parts.
    """
    if result is None:
        result = np.empty((len(matrix), columns.shape[1]), np.float32)
    width = max(1, _ONE_THREAD // matrix.size)
    for first in range(0, columns.shape[1], width):
        part = slice(first, first + width)
        np.matmul(matrix, columns[:, part], out=result[:, part])
    return result


@cache
def _levels_of_light(kind: type[np.integer]) -> np.ndarray:
    """Returns the levels of light in even steps from 0 to 1, (_STEPS + 1,).

    Bytes are those of the middle of each step, which is at most a 30th of a level. Levels of 16 bits are float32, to
    be interpolated between.
    """
    top = np.iinfo(kind).max
    if kind is np.uint8:
        return np.round(top * linear_to_srgb((np.arange(_STEPS + 1) + 0.5) / _STEPS)).clip(0, top).astype(kind)
    return (top * linear_to_srgb(np.linspace(0, 1, _STEPS + 1))).astype(np.float32)
