"""Colors that are given at pixels, spread over the parts of the picture that the pixels belong to.

How far a pixel is from a given one is the length of the shortest way between them, on which steps over edges of the
luminance are long, and each pixel's color is blended by these lengths, as Yatziv and Sapiro ("Fast image and video
colorization using chrominance blending", IEEE TIP 2006) blend scribbles. Far beyond `REACH` from
all given pixels, colors stay as the network painted them. With d_j the distance from the pixels of the given color j,

    share_j = (d_j / REACH)^-FALL / (1 + sum over k of (d_k / REACH)^-FALL)

and the network has the rest. At a given pixel its color's share is 1. `comparisons/points.py` measures it beside the
linear system of Levin et al. ("Colorization using optimization", SIGGRAPH 2004).
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from palgan_jax.colorize.edges import Guide
from palgan_jax.colorize.join import Colors, ab_of, shrink
from palgan_jax.colorize.linear_colors import LinearColors, PixelColors
from palgan_jax.data.decode import MAX_PIXELS, decode_picture
from palgan_jax.data.file_bytes import read_bytes
from palgan_jax.data.levels import to_bytes
from palgan_jax.errors import UserError
from palgan_jax.palette.color_shares import count_colors
from palgan_jax.palette.colors import ab_of_rgb, parse_color
from palgan_jax.palette.palette import Palette
from palgan_jax.util.files import user_path

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SIDE = 512
"""The pixels of the longer side at which colors are spread, unless asked otherwise; a smaller picture keeps its own."""
REACH = 80 / 256
"""The distance at which a given color and the network's have equal shares, in longer sides of the picture."""
FALL = 3
EDGE = 4.0
"""The step of L, in one pixel, that is as long as a 256th of the picture's longer side."""
_OPAQUE = 128  # the alpha from which on a pixel of strokes counts
_MOST_COLORS = 64
_FARTHEST = 2**31  # pixels from the corner; beyond it, NumPy's integers end
_ROUNDS, _MET = 5, 0.25  # corrections of what a picture of full size has at the points, and when they end
_POINT = re.compile(r"\s*(\d{1,99})\s*,\s*(\d{1,99})\s*=\s*(.+)")  # Python refuses numbers of thousands of digits


@dataclass(frozen=True, eq=False)
class Hints:
    """Colors that are given at pixels of one picture.

    Attributes:
      places: the pixels, int (N, 2): x to the right and y downwards, from 0.
      colors: the colors, float64 (M, 2): ab in Lab units. The luminance of a given color has no meaning.
      color_of: which of them each pixel has, int (N,).
      size: the (width, height) that the picture must have; None for any that holds the pixels.
    """

    places: np.ndarray
    colors: np.ndarray
    color_of: np.ndarray
    size: tuple[int, int] | None = None

    @classmethod
    def at_points(cls, points: "Sequence[tuple[tuple[int, int], str]]") -> "Hints":
        """Returns the hints of pixels and colors, such as [((120, 80), "#c03030")].

        Raises UserError for what is no pixel or no color.
        """
        places, colors = [], []
        for point in points:
            try:
                (x, y), color = point
                is_valid = int(x) == x and int(y) == y and isinstance(color, str)
            except (TypeError, ValueError, OverflowError):
                is_valid = False
            if not is_valid:
                raise UserError(f'a point is a pixel and a color, such as ((120, 80), "#c03030"), and not {point!r}.')
            if max(abs(int(x)), abs(int(y))) > _FARTHEST:
                raise UserError(f"the point {int(x)},{int(y)} is outside of the picture, as of all that can be read.")
            places.append((int(x), int(y)))
            colors.append(parse_color(color))
        return cls(np.array(places).reshape(-1, 2), np.array(colors).reshape(-1, 2), np.arange(len(places)))

    @classmethod
    def of_words(cls, words: Sequence[str], max_pixels: int = MAX_PIXELS) -> "tuple[Hints, Path | None]":
        """Reads points, `X,Y=#RRGGBB` each, or one picture of strokes; returns the hints, and the picture's file.

        A file that is called like a point is meant before. Raises UserError for what is neither, and for both at once.
        """
        path = user_path(words[0])
        if len(words) > 1 or ("=" in words[0] and not os.path.lexists(path)):
            return cls.at_points([parse_point(word) for word in words]), None
        picture = decode_picture(read_bytes(path), name=str(path), max_pixels=max_pixels)
        if picture.alpha is None:
            raise UserError(f"{path} is opaque everywhere: leave it transparent but for the strokes.")
        rgba = np.dstack([to_bytes(picture.rgb()), to_bytes(picture.alpha)])
        return cls.of_strokes(rgba, str(path)), path

    @classmethod
    def of_strokes(cls, rgba: np.ndarray, name: str = "the picture of strokes") -> "Hints":
        """Returns the hints of a picture uint8 (H, W, 4) that is transparent but for strokes of a few colors.

        Raises UserError where there is no stroke, and where colors have no end.
        """
        height, width = rgba.shape[:2]
        y, x = np.nonzero(rgba[..., 3] >= _OPAQUE)
        if not len(x):
            raise UserError(f"{name} has no strokes: paint on it with a brush, and leave the rest transparent.")
        if len(x) == width * height:
            raise UserError(f"{name} is opaque everywhere: leave it transparent but for the strokes.")
        colors, color_of = np.unique(rgba[y, x, :3], axis=0, return_inverse=True)
        if len(colors) > _MOST_COLORS:
            raise UserError(
                f"{name} has strokes of {len(colors):,} colors, and {_MOST_COLORS} are the most: paint them with a "
                "brush of one color, without soft edges."
            )
        return cls(np.stack([x, y], -1), ab_of_rgb(colors / 255), color_of.ravel(), (width, height))

    def digest(self) -> str:
        """Returns a digest of all of it."""
        arrays = (self.places.astype(np.int64), self.colors, self.color_of.astype(np.int64))
        return sha256(b"".join(array.tobytes() for array in arrays) + repr(self.size).encode()).hexdigest()

    def scaled(self, size: tuple[int, int], new_size: tuple[int, int]) -> "Hints":
        """Returns the hints for a picture of size (width, height), resized; of those that meet, the first."""
        places = self.places * new_size // size
        _, first = np.unique(places, axis=0, return_index=True)
        color_numbers, color_of = np.unique(self.color_of[first], return_inverse=True)
        return Hints(places[first], self.colors[color_numbers], color_of.ravel(), new_size if self.size else None)

    def check(self, width: int, height: int) -> None:
        """Raises UserError where the picture, of that size, is another one than the hints are for."""
        if self.size and self.size != (width, height):
            raise UserError(
                f"the strokes are of a picture of {self.size[0]} x {self.size[1]} pixels, and the photograph has "
                f"{width} x {height}, upright: paint them on a copy of it."
            )
        outside = ((self.places < 0) | (self.places >= (width, height))).any(-1)
        if outside.any():
            x, y = self.places[outside][0]
            raise UserError(
                f"the point {x},{y} is outside of the picture, whose pixels are 0,0 to {width - 1},{height - 1}."
            )


def parse_point(text: str) -> tuple[tuple[int, int], str]:
    """Returns the pixel and the color of `X,Y=#RRGGBB`. Raises UserError for anything else."""
    if not (match := _POINT.fullmatch(text)):
        raise UserError(f"{text!r} is no point: write the pixel and its color, such as 120,80=#c03030.")
    x, y, color = match.groups()
    parse_color(color)
    return (int(x), int(y)), color


class Ground:
    """A picture's luminance, as colors are spread over it; what all its hints share is computed once.

    Attributes:
      luminance: L (H, W).
      small: L (h, w), reduced.
      guide: what lets given colors end at edges in a larger picture, too.
    """

    def __init__(self, luminance: np.ndarray, side: int = SIDE) -> None:
        """Reduces L (H, W) to `side` pixels where its longer side has more."""
        height, width = luminance.shape
        times = min(1, side / max(height, width))
        self.luminance, self.small = luminance, luminance
        if times < 1:
            self.small = shrink(luminance, max(1, round(height * times)), max(1, round(width * times)))
        self.guide = Guide(self.small, blur=0.5 / side, window=2 / side)
        self._bytes = np.ascontiguousarray(self.small, np.float32).tobytes()

    def distances(self, cells: tuple[int, ...]) -> np.ndarray:
        """Returns how far each pixel of the small L is from the nearest of the cells, in longer sides: (h, w)."""
        return _distances(self._bytes, self.small.shape, cells)


class Spread:
    """Hints, spread over the picture that they are for.

    Attributes:
      shares: how much of each pixel's color each of the hints' colors is, float32 (M, h, w); the network has the rest.
    """

    def __init__(self, ground: Ground, hints: Hints) -> None:
        """Raises UserError where the hints do not fit the picture, or lie too close together."""
        height, width = ground.luminance.shape
        hints.check(width, height)
        self._ground, self._hints = ground, hints
        cells = self._cells(*ground.small.shape)
        with np.errstate(divide="ignore"):
            weights = np.stack(
                [(ground.distances(color_cells) / REACH) ** -float(FALL) for color_cells in cells]
            )  # (M, h, w)
        weights = np.minimum(weights, 1e30)
        self.shares = (weights / (1 + weights.sum(0))).astype(np.float32)

    def _cells(self, height: int, width: int) -> list[tuple[int, ...]]:
        """Returns the pixels of the small picture that each color has, as flat indices."""
        hints = self._hints
        x, y = (hints.places * (width, height) // self._ground.luminance.shape[::-1]).T
        # Of several colors in one pixel of the small picture, the one with the most pixels.
        pairs, counts = np.unique(np.stack([y * width + x, hints.color_of]), axis=1, return_counts=True)
        order = np.lexsort((-counts, pairs[0]))
        cells, colors = pairs[:, order]
        first = np.concatenate([[True], cells[1:] != cells[:-1]])
        cells_by_color = [tuple(cells[first & (colors == i)].tolist()) for i in range(len(hints.colors))]
        for i, color_cells in enumerate(cells_by_color):
            if not color_cells:
                at = hints.places[hints.color_of == i][0]
                raise UserError(
                    f"the color at {at[0]},{at[1]} has another one beside it that takes its place: leave one of them "
                    "out, or give them more room."
                )
        return cells_by_color

    def area(self) -> np.ndarray:
        """Returns the share of the picture that has each of the colors: (M,), in [0, 1]."""
        return self.shares.mean((1, 2))

    def moved(self, palette: Palette) -> Palette:
        """Returns a palette that has each of the hints' colors as much as the picture has."""
        area = self.area()
        count = count_colors(self._hints.colors, area, palette.spec, palette.ab_range)
        return palette.mix(Palette(count, palette.spec, palette.ab_range), min(1.0, float(area.sum())))

    def over(self, colors: Colors) -> Colors:
        """Returns the picture's colors with those of the hints over them.

        At points, they have the given ab to within a quarter of a unit, whatever the picture's size.
        """
        small, size = self._ground.small, self._ground.luminance.shape
        painted = ab_of(colors.resized(small))
        aims = targets = self._hints.colors
        change = self._change(painted, aims)
        if len(self._hints.places) == len(targets):  # the pixels of strokes need not be met one by one
            places = self._hints.places[np.argsort(self._hints.color_of)]
            added_at = PixelColors(small.shape, size, places, self._ground.luminance[places[:, 1], places[:, 0]])
            gaps = targets - _at(places, colors)
            for _ in range(_ROUNDS):
                error = gaps - added_at(*change)
                if np.abs(error).max() < _MET:
                    break
                aims = np.clip(aims + error, -128, 128)
                change = self._change(painted, aims)
        return replace(colors, added=LinearColors(*change, size))

    def _change(self, painted: np.ndarray, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns what makes a painting (h, w, 2) have the given colors (M, 2), as offset and slope, (h, w, 2) each."""
        change = np.einsum("mhw,mc->hwc", self.shares, colors.astype(np.float32))
        change -= self.shares.sum(0)[..., None] * painted
        return self._ground.guide.along(change)


def _at(places: np.ndarray, colors: Colors) -> np.ndarray:
    """Returns the ab (N, 2) of a picture at pixels (N, 2)."""
    return np.array([colors.ab(y, y + 1)[x] for x, y in places])


@lru_cache(maxsize=2 * _MOST_COLORS)
def _distances(lightness: bytes, size: tuple[int, int], cells: tuple[int, ...]) -> np.ndarray:
    """Returns how far each pixel of L, float32 (h, w), is from the nearest of the cells, in longer sides: (h, w).

    The results of a picture are kept, so that moving one of its points costs one search.
    """
    from scipy.sparse.csgraph import dijkstra

    distances = dijkstra(_ways(lightness, size), directed=False, indices=cells, min_only=True)
    return distances.reshape(size)


@lru_cache(maxsize=1)
def _ways(lightness: bytes, size: tuple[int, int]) -> "csr_array":
    """Returns the lengths of the steps from pixel to pixel, to all eight neighbors, in longer sides of the picture."""
    from scipy.sparse import coo_array

    l = np.frombuffer(lightness, np.float32).reshape(size)
    index = np.arange(l.size, dtype=np.int32).reshape(size)
    starts, ends, lengths = [], [], []
    height, width = size
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        starts_slice = slice(0, height - dy), slice(max(0, -dx), width - max(0, dx))
        ends_slice = slice(dy, height), slice(max(0, dx), width + min(0, dx))
        step = ((l[ends_slice] - l[starts_slice]) / EDGE) ** 2 / 256 + np.hypot(dy, dx) / max(size)
        starts.append(index[starts_slice].ravel())
        ends.append(index[ends_slice].ravel())
        lengths.append(step.ravel())
    pairs = np.concatenate(starts), np.concatenate(ends)
    return coo_array((np.concatenate(lengths).astype(np.float64), pairs), (l.size, l.size)).tocsr()
