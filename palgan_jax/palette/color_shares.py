"""The colors behind a palette, with the share of each, which edits change.

A palette is a histogram that is blurred by the kernel of its votes: of a single color no bin has more than 30 %, and
every bin has some. To move its bins would move that blur as well. Edits therefore work on the colors that, counted as
pictures are, give the palette. They are found by the iteration of Richardson (1972) and Lucy (1974), which is that of
expectation-maximization for shares of known distributions (Shepp and Vardi, 1982): shares stay positive, and their sum
stays 1. On 57 photographs, the palette of edited pixels is met within a Hellinger distance of 0.01 to 0.03; moving bins
misses it by 0.12 to 0.28, more than no edit does (`comparisons/palette_edits.py`).
"""

from functools import cache

import numpy as np

from palgan_jax.color import AB_RANGE
from palgan_jax.palette.colors import within_gamut
from palgan_jax.palette.histogram import votes
from palgan_jax.palette.spec import PaletteSpec

_SIDE = 31
_ITERATIONS = 300


def color_shares(
    h: np.ndarray, spec: PaletteSpec = PaletteSpec(), ab_range: float = AB_RANGE
) -> tuple[np.ndarray, np.ndarray]:
    """Returns colors (N, 2), ab in Lab units on a grid within sRGB, and their shares (N,), sum 1, of a palette (K,)."""
    colors, counts, sums = _grid(spec, ab_range)
    target = np.asarray(h, np.float64) / np.sum(h, dtype=np.float64)
    shares = np.full(len(colors), 1 / len(colors))
    for _ in range(_ITERATIONS):
        shares *= (target / (shares @ counts + 1e-12)) @ counts.T
    shares /= sums  # in counting, colors at the border have fewer votes
    return colors, shares / shares.sum()


def count_colors(
    colors: np.ndarray, weights: np.ndarray, spec: PaletteSpec = PaletteSpec(), ab_range: float = AB_RANGE
) -> np.ndarray:
    """Counts the palette (K,), float64, sum 1, of colors (N, 2), ab in Lab units, that weigh (N,), as pictures are."""
    counts = weights @ _votes(colors, spec, ab_range)
    return counts / counts.sum()


def _votes(colors: np.ndarray, spec: PaletteSpec, ab_range: float) -> np.ndarray:
    """Returns the votes (N, K) of colors (N, 2)."""
    a, b = (votes(colors[:, i] / ab_range, spec) for i in range(2))
    return (a[:, :, None] * b[:, None, :]).reshape(len(colors), spec.size)


@cache
def _grid(spec: PaletteSpec, ab_range: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the grid's colors (N, 2), the votes of each divided by their sum (N, K), and that sum (N,)."""
    side = np.linspace(-spec.half_range, spec.half_range, _SIDE) * ab_range
    plane = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    step = side[1] - side[0]
    colors = plane[np.hypot(*(plane - within_gamut(plane)).T) < step / 2]
    counts = _votes(colors, spec, ab_range)
    sums = counts.sum(axis=1)
    return colors, counts / sums[:, None], sums
