"""A few colors that stand for a palette."""

from dataclasses import dataclass

import numpy as np

from palgan_jax.palette.colors import hex_of, shown_rgb

_ROUNDS = 30
_APART = 12.0  # Lab units: colors that are nearer to each other are one
_LEAST = 1e-3  # the smallest share of a color that is looked at


@dataclass(frozen=True)
class Swatch:
    """One of a few colors that stand for a palette.

    Attributes:
      color: sRGB as `#rrggbb`, at the L nearest to 65 at which it exists.
      ab: the color itself, in Lab units.
      share: of the palette, in [0, 1].
    """

    color: str
    ab: tuple[float, float]
    share: float


def swatches_of(colors: np.ndarray, shares: np.ndarray, count: int) -> list[Swatch]:
    """Returns at most `count` swatches, the largest first, of colors (N, 2), ab in Lab units, and their shares (N,).

    They are the means of weighted k-means (Lloyd, 1982), begun at colors that weigh much and lie far from each other.
    """
    centers = colors[[np.argmax(shares)]]
    while len(centers) < count:
        squares = ((colors[:, None] - centers) ** 2).sum(axis=-1).min(axis=1)
        merits = np.where((squares > _APART**2) & (shares > _LEAST), shares * squares, 0)
        if not merits.any():
            break
        centers = np.concatenate([centers, colors[[np.argmax(merits)]]])
    for _ in range(_ROUNDS):
        nearest = np.argmin(((colors[:, None] - centers) ** 2).sum(axis=-1), axis=1)
        sizes = np.bincount(nearest, shares, len(centers))
        sums = np.stack([np.bincount(nearest, shares * colors[:, i], len(centers)) for i in range(2)], axis=-1)
        centers = sums[sizes > 0] / sizes[sizes > 0, None]
    sizes = sizes[sizes > 0]
    order = np.argsort(-sizes)
    rgb_colors = shown_rgb(centers[order])
    return [
        Swatch(hex_of(rgb), (float(a), float(b)), float(share))
        for rgb, (a, b), share in zip(rgb_colors, centers[order], sizes[order], strict=True)
    ]
