"""The contrast of faded prints, restored: a stretch of the luminance L along a line, which keeps the order of grays.

What is decided here:

- The darkest and the lightest of the photograph within a print's border, but for half a percent of its pixels each, in
  which dust and scratches lie, go to where most photographs have them, and those beyond follow, up to black and white.
- Where a photograph has blacks or whites, they stay. One that has both stays as it is.
- The border follows the same line, so that no edge appears: paper is as light as the photograph's whites or lighter, up
  to white. Black and white themselves stay, and so does what is transparent and shown on white.
- What is nearly even, such as a wall, is stretched four times at most, around where it is: more would show its grain.
"""

from dataclasses import dataclass

import numpy as np

from palgan_jax.colorize.border import Border

_SHARE = 0.5
"""Of the photograph's pixels, percent: those that may be darker, or lighter, than its darkest and lightest."""
_DARKEST, _LIGHTEST = 5.0, 95.0
"""Where these go, L: the medians over 81 photographs of our days (`comparisons/contrast.py`)."""
_MOST = 4.0
"""The steepest stretch."""
_INSET = 0.02
"""The margin along a border that is not looked at, as a share of the picture's side."""
_SIDE = 1024
"""The longer side of the sample, pixels, at most."""


@dataclass(frozen=True)
class Contrast:
    """A line that L goes along: offset + slope * L, within [0, 100]."""

    offset: float = 0.0
    slope: float = 1.0

    def __call__(self, lightness: np.ndarray) -> np.ndarray:
        """Returns L, float32 of any shape, along the line: the array itself where that is as it was."""
        if self == UNCHANGED:
            return lightness
        stretched = lightness * np.float32(self.slope)
        stretched += np.float32(self.offset)
        return np.clip(stretched, 0, 100, out=stretched)


UNCHANGED = Contrast()


def full_contrast(low: float, high: float) -> Contrast:
    """Returns the line that brings the darkest and lightest L of a photograph to where most photographs have them."""
    black, white, span = min(low, _DARKEST), max(high, _LIGHTEST), max(high - low, 1e-6)
    gain = (white - black) / span
    # Between no stretch and the whole one there is one of each slope, under which black and white stay.
    share = min(1.0, (_MOST - 1) / max(gain - 1, 1e-6))
    return Contrast(share * (black - gain * low), 1 + share * (gain - 1))


class Tones:
    """A sample of the L of a picture that comes in bands: every k-th pixel of every k-th row."""

    def __init__(self, height: int, width: int) -> None:
        """Takes the picture's size."""
        self._top, self._step = 0, -(-max(height, width) // _SIDE)
        self._rows: list[np.ndarray] = []

    def add(self, lightness: np.ndarray, alpha: np.ndarray | None) -> None:
        """Takes the next band: its L (h, W), and its opacity, uint8 or uint16 (h, W), where it has one.

        What is nearly transparent does not count.
        """
        rows = np.s_[-self._top % self._step :: self._step, :: self._step]
        band = lightness[rows].copy()  # a view would keep all of the band
        if alpha is not None:
            band[alpha[rows] <= np.iinfo(alpha.dtype).max // 2] = np.nan
        self._rows.append(band)
        self._top += len(lightness)

    def full_contrast(self, border: Border | None) -> Contrast:
        """Returns the line that restores the contrast of the photograph within the border."""
        sample = np.concatenate(self._rows)
        if border is not None:
            sample = sample[border.inside(*sample.shape, _INSET)]
        counted = sample[np.isfinite(sample)]
        if not counted.size:
            return UNCHANGED
        low, high = np.percentile(counted, (_SHARE, 100 - _SHARE))
        return full_contrast(float(low), float(high))
