"""Palettes of parts of a picture: which of several palettes paints which pixel (method: section 13)."""

from typing import Any, NamedTuple


class Regions(NamedTuple):
    """Palettes and where each of them paints: what G may be given in the place of one palette (B, K).

    Arrays are those of NumPy or of JAX.

    Attributes:
      palettes: (B, N, K).
      shares: how much each palette counts at each pixel, (B, R, R, N): at least 0, with the sum 1.
    """

    palettes: Any
    shares: Any
