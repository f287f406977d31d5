"""Lab colors of a picture as sRGB levels of the same luminance (method: section 9).

A color outside the sRGB gamut goes towards gray at constant L until it is inside, where a plain clamp would change how
light it is. Rounding to bytes moves L by less than 0.3.

Colors come as planes of the cube roots that Lab has of X, Z and Y, 116 of each for white: that of Y is L + 16, and the
others are that far from it that ROOTS_OF_AB tells. Work goes over pieces that stay in a processor's cache, in arrays
that are used again for the next piece, and over all planes in one go; the sRGB curve is a table, since powers take
longer than all the rest.
"""

from functools import cache

import numpy as np

from palgan_jax.color import DARK, DARK_SLOPE, LEAST_LIGHT, MOST_LIGHT, RGB_FROM_WHITE_XYZ, linear_to_srgb

ROOTS_OF_AB = np.array([116 / 500, -116 / 200], np.float32)
"""How far the roots of X and Z are from that of Y, by a and b."""
PIECE = 1 << 17
"""Pixels that are worked on at a time: with fewer, threads wait longer for the interpreter's lock than they work."""
_HALVINGS = 12  # of the interval of chroma that fits
_MANY = 16  # a share of dark values, one in so many, from which all are worked on rather than those alone
_STEPS = round(-1 / LEAST_LIGHT)  # of light, in the tables of the sRGB curve
_STEPS_OF_CUBES = (_STEPS / 116**3 * RGB_FROM_WHITE_XYZ[:, [0, 2, 1]]).astype(np.float32)
_DARK_ROOT, _DARK_CUBES = np.float32(116 * DARK), np.float32(116**2 * DARK_SLOPE)
_MOST_STEPS = int(_STEPS * MOST_LIGHT)  # in gamut; of less than no light, a part of a step is, too
_ONE_THREAD = 1 << 17  # multiplications of a product that OpenBLAS leaves to one thread


class LevelWriter:
    """Writes Lab colors into levels (N, 3), uint8 or uint16: those out of the gamut later, many at once."""

    def __init__(self, levels: np.ndarray) -> None:
        self._levels = levels
        self._light = _Light(min(PIECE, len(levels)))
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._count = 0

    def write(self, start: int, roots: np.ndarray) -> None:
        """Writes colors, whose roots are float32 (3, M), to the pixels from `start` on."""
        for first in range(0, roots.shape[1], PIECE):
            piece = roots[:, first : first + PIECE]
            begin = start + first
            self._light.take(piece)
            outside = np.flatnonzero(self._light.outside())
            self._light.write(self._levels[begin : begin + piece.shape[1]])
            if len(outside):
                self._waiting.append((outside + begin, piece.take(outside, axis=1)))
                self._count += len(outside)
                if self._count >= PIECE:
                    self.finish()

    def finish(self) -> None:
        """Writes the colors that wait, of the nearest chroma that fits."""
        if not self._waiting:
            return
        places, colors = zip(*self._waiting, strict=True)
        self._waiting, self._count = [], 0
        place, roots = np.concatenate(places), np.concatenate(colors, axis=1)
        levels = np.empty((len(place), 3), self._levels.dtype)
        for first in range(0, len(place), PIECE):
            part = slice(first, first + PIECE)
            self._light.take_in_gamut(roots[:, part])
            self._light.write(levels[part])
        self._levels[place] = levels


def lab_to_levels(lab: np.ndarray, deep: bool = False) -> np.ndarray:
    """Converts Lab colors (N, 3), L in [0, 100], to sRGB (N, 3) of the same luminance: uint8, or uint16 if `deep`."""
    levels = np.empty((len(lab), 3), np.uint16 if deep else np.uint8)
    writer = LevelWriter(levels)
    gray = lab[:, 0] + np.float32(16)
    writer.write(0, np.stack([*(lab[:, 1:] * ROOTS_OF_AB).T + gray, gray]).astype(np.float32, copy=False))
    writer.finish()
    return levels


class _Light:
    """The linear R, G and B of up to `size` colors, in steps of the tables, in arrays that are used again."""

    def __init__(self, size: int) -> None:
        self._floats = np.empty(6 * size, np.float32)
        self._flags = np.empty(3 * size, np.bool_)

    def take(self, roots: np.ndarray) -> None:
        """Takes colors, whose roots are (3, N), as `color.lab_to_linear` converts them."""
        count = roots.shape[1]
        cubes, self._rgb = self._floats[: 6 * count].reshape(2, 3, count)
        self._is_out = self._flags[: 3 * count].reshape(3, count)
        np.less(roots, _DARK_ROOT, out=self._is_out)
        dark = np.flatnonzero(self._is_out)  # where light is linear
        are_few = len(dark) < roots.size // _MANY
        curved = roots if are_few else np.maximum(roots, _DARK_ROOT, out=self._rgb)
        np.multiply(curved, curved, out=cubes)
        cubes *= curved
        if are_few:
            cubes.reshape(-1)[dark] = (roots.ravel()[dark] - 16) * _DARK_CUBES
        else:
            curved -= roots
            curved *= _DARK_CUBES
            cubes -= curved
        product(_STEPS_OF_CUBES, cubes, self._rgb)
        self._steps = cubes.view(np.int32)  # in the same place, as memory near the processor is scarce
        with np.errstate(invalid="ignore"):  # more steps than int32 holds become others out of the gamut
            self._steps[:] = self._rgb

    def take_in_gamut(self, roots: np.ndarray) -> None:
        """Takes colors (3, N) with the largest share of their chroma that is in gamut, as `color.gamut_share` has it.

        By bisection; the lower end is always inside, however the gamut is shaped.
        """
        gray = roots[2]
        chroma, share, step = roots - gray, np.zeros_like(gray), np.float32(1)
        mixed = np.empty_like(chroma)

        def take_share() -> None:
            np.multiply(chroma, share, out=mixed)
            np.add(mixed, gray, out=mixed)
            self.take(mixed)

        for _ in range(_HALVINGS):
            step /= 2
            share += step
            take_share()
            share -= step * self.outside()
        take_share()

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


def product(matrix: np.ndarray, columns: np.ndarray, result: np.ndarray | None = None) -> np.ndarray:
    """Multiplies a matrix (M, K) with many columns (..., K, N) on one thread: the others have other work.

    OpenBLAS, which shares large products among threads of its own, is given parts.
    """
    count = columns.shape[-1]
    if result is None:
        result = np.empty((*columns.shape[:-2], len(matrix), count), np.float32)
    width = max(1, _ONE_THREAD // matrix.size)
    end = count - count % width

    def parts(x: np.ndarray) -> np.ndarray:
        return x[..., :end].reshape(*x.shape[:-1], -1, width).swapaxes(-2, -3)

    np.matmul(matrix, parts(columns), out=parts(result))
    np.matmul(matrix, columns[..., end:], out=result[..., end:])
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
