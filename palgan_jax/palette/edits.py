"""Edits of colors and their shares.

Colors are ab (N, 2) in Lab units, shares (N,) have the sum 1. How near a color is to the one that an edit names is
measured as in CIE94 at equal luminance, in which pale and deep shades of one hue lie nearer to each other than equally
different hues do. Within half the `spread` an edit has its whole effect, which falls to none at the spread.
"""

import math

import numpy as np

from palgan_jax.palette.colors import within_gamut

SPREAD = 15.0
_FROM_COOL_TO_WARM = np.array([0.135, 0.991])
"""The direction from the white of D65 to that of D50 in the ab plane."""
_CHROMA_COUNTS = 3.0
"""How many times more than a change of hue a change of chroma costs, so that grass turns yellow and not gray."""
_REACH = 5.0
"""How much further than the nearest color, in units of CIE94, what is removed goes."""
_ANY_COLOR = 0.05
"""The weight of all colors together, beside those that a palette has, as a place for what is removed."""
_ENDLESS = 1e6
"""A chroma or temperature from which on all colors lie at the end of the gamut: larger numbers change nothing."""


def shift(colors: np.ndarray, hue: float, chroma: float, temperature: float) -> np.ndarray:
    """Returns the colors turned by `hue` degrees, of `chroma` times their chroma, `temperature` Lab units warmer.

    Those beyond the gamut of sRGB lose chroma until they are inside.
    """
    chroma, temperature = min(chroma, _ENDLESS), min(max(temperature, -_ENDLESS), _ENDLESS)
    angle = math.radians(hue)
    rotated = colors @ np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return within_gamut(chroma * rotated + temperature * _FROM_COOL_TO_WARM)


def boost(colors: np.ndarray, shares: np.ndarray, color: np.ndarray, factor: float, spread: float) -> np.ndarray:
    """Returns the shares with `factor` times as much of what is near `color` (2,), in proportion to all others.

    At the edge of the spread the factor is raised to a power below 1, so that boosts by 2 and by 1/2 cancel.
    """
    logits = math.log(factor) * nearness(colors, color, spread)
    result = shares * np.exp(logits - logits[shares > 0].max())
    return result / result.sum()


def remove(colors: np.ndarray, shares: np.ndarray, color: np.ndarray, spread: float) -> np.ndarray:
    """Returns the shares without what is near `color` (2,), which moves to neighbors of its own chroma.

    It is moved by optimal transport with entropic regularization, whose sources are given and whose targets are free:
    each color goes to all that remain, in proportion to their shares and to exp(-cost) (the closed form of the problem
    with one relaxed margin; Cuturi, 2013; Peyré and Cuturi, "Computational Optimal Transport", 2019, section 4).
    """
    weights = nearness(colors, color, spread)
    moved_shares = shares * weights
    places = (1 - weights) * (shares + _ANY_COLOR / len(shares))
    sources = np.flatnonzero(moved_shares > 0)
    if not sources.size or not places.any():
        return shares
    chroma, hue = _differences(colors[sources, None], colors[None])
    logits = np.log(np.maximum(places, 1e-300)) - ((_CHROMA_COUNTS * chroma) ** 2 + hue**2) / (2 * _REACH**2)
    plan = np.exp(logits - logits.max(axis=1, keepdims=True))
    plan /= plan.sum(axis=1, keepdims=True)  # (sources, N)
    return shares - moved_shares + moved_shares[sources] @ plan


def nearness(colors: np.ndarray, color: np.ndarray, spread: float) -> np.ndarray:
    """Returns how near colors (N, 2) are to one (2,): 1 within half of `spread`, and 0 beyond it."""
    distance = np.hypot(*_differences(color, colors))
    return 0.5 + 0.5 * np.cos(np.pi * np.clip(2 * distance / spread - 1, 0, 1))


def _differences(color: np.ndarray, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the differences of chroma and of hue (...) between colors (..., 2), scaled as in CIE94 by the first's."""
    chroma, chroma_of_colors = np.hypot(color[..., 0], color[..., 1]), np.hypot(colors[..., 0], colors[..., 1])
    squares = ((color - colors) ** 2).sum(axis=-1) - (chroma - chroma_of_colors) ** 2
    return (chroma - chroma_of_colors) / (1 + 0.045 * chroma), np.sqrt(np.maximum(squares, 0)) / (1 + 0.015 * chroma)
