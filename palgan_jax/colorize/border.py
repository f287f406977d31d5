"""The border of a print: paper around the photograph, which is no part of what a model has learned to color.

A border is a strip along a side of the picture that is even, and ends along a straight line, as a print on a scanner
does that lies a little askew. It is looked for in the luminance, at a small size. Skies and walls that are even along a
side do not end so on three sides at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from palgan_jax.colorize.join import shrink

_SIDE = 512
"""The longer side of the small picture, pixels."""
_EVEN = 0.1
"""How far a border's L is from its median, as a share of the range of the picture's L."""
_STRAIGHT = 1.5
"""How far, in pixels of the small picture, the end of a border lies from a line."""
_ON_LINE = 0.8
"""The share of the places along a side that lie on the line."""
_SLOPE = 0.05
_DEPTH = (0.01, 0.25)
"""The depths of a border at the middle of its side, as shares of the picture's height or width."""
_ALIKE = 0.15
"""How far the L of a border's sides lie apart, as a share of the range of the picture's L."""
_SIDES = 3
"""How many of the four sides have one; the fourth may have been cut off, or be as light as the photograph."""
_LEAST = 0.05
"""The share of places at which the border of the fourth side may end earlier than where it is taken to end."""
_CORNERS = 0.15
"""The share of a side, at either end, that is not looked at: there the borders of two sides meet."""


@dataclass(frozen=True)
class Strip:
    """The border along one side.

    Attributes:
      first, last: its depth at the beginning and at the end of the side (left and right, or top and bottom), as shares
        of the picture's height or width.
      level: its L.
    """

    first: float
    last: float
    level: float


@dataclass(frozen=True)
class Border:
    """A print's border: a strip along each side, of which one may have no depth."""

    top: Strip
    bottom: Strip
    left: Strip
    right: Strip

    def corners(self, height: int, width: int) -> list[tuple[float, float]]:
        """Returns the corners (x, y) of the photograph in a picture of this size, clockwise from the upper left."""

        def meet(horizontal: Strip, from_below: bool, vertical: Strip, from_right: bool) -> tuple[float, float]:
            x = y = 0.0
            for _ in range(4):  # the slopes are small, so that this converges fast
                y = horizontal.first + (horizontal.last - horizontal.first) * x
                y = 1 - y if from_below else y
                x = vertical.first + (vertical.last - vertical.first) * y
                x = 1 - x if from_right else x
            return x * width, y * height

        return [
            meet(self.top, False, self.left, False),
            meet(self.top, False, self.right, True),
            meet(self.bottom, True, self.right, True),
            meet(self.bottom, True, self.left, False),
        ]

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Returns left, top, right and bottom, in pixels, of the smallest rectangle that holds the photograph."""
        xs, ys = zip(*self.corners(height, width), strict=True)
        left, top = max(0, int(min(xs))), max(0, int(min(ys)))
        return left, top, min(width, int(np.ceil(max(xs))) + 1), min(height, int(np.ceil(max(ys))) + 1)

    def place(self, height: int, width: int) -> tuple[slice, slice]:
        """Returns rows and columns of the box."""
        left, top, right, bottom = self.box(height, width)
        return slice(top, bottom), slice(left, right)

    def inside(self, height: int, width: int, inset: float) -> tuple[slice, slice]:
        """Returns rows and columns of a rectangle within the photograph, a share `inset` of the sides from its ends."""
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = self.corners(height, width)
        left, right = max(x0, x3) + inset * width, min(x1, x2) - inset * width
        top, bottom = max(y0, y1) + inset * height, min(y2, y3) - inset * height
        return slice(int(np.ceil(top)), int(bottom)), slice(int(np.ceil(left)), int(right))

    def mask(self, height: int, width: int, top: int = 0, bottom: int | None = None) -> np.ndarray:
        """Returns the mask of the border in rows of a picture of this size: uint8 (h, width), 255 on it."""
        mask = Image.new("L", (width, (height if bottom is None else bottom) - top), 255)
        ImageDraw.Draw(mask).polygon([(x, y - top) for x, y in self.corners(height, width)], fill=0)
        return np.asarray(mask)


def find_border(lightness: np.ndarray) -> Border | None:
    """Finds the border of a picture by its L (H, W); None where it has none."""
    height, width = lightness.shape
    scale = min(1.0, _SIDE / max(height, width))
    small = shrink(lightness, max(1, round(height * scale)), max(1, round(width * scale)))
    low, high = np.percentile(small, (1, 99))
    span = high - low
    if min(small.shape) < 32 or span < 1:
        return None
    sides = [small, small[::-1], small.T, small.T[::-1]]
    strips = [_strip(side, span) for side in sides]
    border_strips = [strip for strip in strips if strip is not None]
    levels = [strip.level for strip in border_strips]
    if len(border_strips) < _SIDES or max(levels) - min(levels) > _ALIKE * span:
        return None
    return Border(*(strip or _least_strip(side, span, levels) for side, strip in zip(sides, strips, strict=True)))


def _depths(small: np.ndarray, span: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Looks for the border along the upper side of L (h, w).

    Returns places x (N,) along it, how deep L stays even at each of them (N,), pixels, and the L of its outermost rows.
    """
    height, width = small.shape
    x = np.arange(round(_CORNERS * width), round((1 - _CORNERS) * width))
    level = float(np.median(small[1 : 1 + max(2, round(_DEPTH[0] * height)), x]))
    differs = np.abs(small[1:, x] - level) > _EVEN * span  # the outermost pixels may be the edge of a scanner
    return x, np.where(differs.any(axis=0), 1 + differs.argmax(axis=0), height).astype(np.float64), level


def _strip(small: np.ndarray, span: float) -> Strip | None:
    """Returns the border along the upper side of L (h, w); None where it has none that ends along a line."""
    height, width = small.shape
    x, depth, level = _depths(small, span)
    half = len(x) // 2
    slope = np.median(depth[half : 2 * half] - depth[:half]) / half
    start = np.median(depth - slope * x)
    on_line = np.abs(depth - start - slope * x) <= _STRAIGHT
    if on_line.mean() < _ON_LINE or abs(slope) > _SLOPE:
        return None
    if not _DEPTH[0] <= (start + slope * width / 2) / height <= _DEPTH[1]:
        return None
    first, last = start + 1, start + slope * (width - 1) + 1  # a pixel between the two is mixed of both
    return Strip(float(first / height), float(last / height), level)


def _least_strip(small: np.ndarray, span: float, levels: Sequence[float]) -> Strip:
    """Returns as much of a border along the upper side as there is for sure, where the others have these levels of L.

    A sky as light as the paper hides where it ends, but for a few places.
    """
    _, depth, level = _depths(small, span)
    least = (np.quantile(depth, _LEAST) + 1) / len(small)
    is_paper = abs(level - np.median(levels)) <= _ALIKE * span and _DEPTH[0] <= least <= _DEPTH[1]
    return Strip(least, least, level) if is_paper else Strip(0.0, 0.0, level)
