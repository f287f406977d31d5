"""Painted colors along the edges of the luminance (method: section 9).

A network paints colors as if through a lens out of focus: at the outline of a thing, its color runs into the next
one's. The luminance is sharp there, and is known. So ab is described by what the two have in common at the painting's
own sharpness, and then taken at the luminance's: with B a blur as wide as the painting's and a the slope of the local
linear regression of ab on B L,

    ab' = ab + a (L - B L) = (ab - a B L) + a L

Sharpening satellites' color bands by their panchromatic band is done in the same way: the detail that the sharper
picture has beyond the blur of the other is injected by a regression's gain (Aiazzi et al., "Context-driven fusion of
high spatial and spectral resolution images based on oversampled multiresolution analysis", IEEE TGRS 2002). The local
regression is that of the guided filter (He et al., 2010), and, as in its fast form (He and Sun, 2015), the two
coefficient maps are small and smooth whatever the size of the picture whose L they meet.

Where ab and L have nothing in common, a is near 0 and the colors stay as they were painted. The blurs of ab and ab' are
the same as far as a is constant within the blur.
"""

import math

import numpy as np

BLUR = 3 / 256
"""The standard deviation of the painting's blur, as a share of its side."""
WINDOW = 8 / 256
"""The radius of the windows of the regression, as a share of the painting's side."""
SLIGHT = 9.0
"""The variance of L, in L^2, at which a window takes half of the regression's slope. Grain has less, edges more."""
_TAIL = 5  # deviations of the blur, beyond which its weights are nothing


class Guide:
    """A luminance that guides colors along its edges; what all paintings of a picture share is computed once."""

    def __init__(self, lightness: np.ndarray, blur: float = BLUR, window: float = WINDOW) -> None:
        """Takes L (H, W) in [0, 100], of the size of the paintings.

        blur, window: as BLUR and WINDOW, of paintings of another kind.
        """
        height, width = lightness.shape
        self._radius = window_radius(height, window)
        self._blurred = _blurred(_blurred(lightness, 0, blur * height), 1, blur * width)
        self._mean = self._means(self._blurred)
        self._spread = self._means(self._blurred**2) - self._mean**2 + np.float32(SLIGHT)

    def along(self, ab: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns a painting, ab (H, W, 2) in Lab units, as a local linear function of L: offset + slope * L.

        Offset and slope are (H, W, 2) each.
        """
        planes = np.ascontiguousarray(np.moveaxis(ab, -1, 0))
        covariance = self._means(self._blurred * planes) - self._mean * self._means(planes)
        slope = np.moveaxis(self._means(covariance / self._spread), 0, -1)
        return ab - slope * self._blurred[..., None], slope

    def _means(self, planes: np.ndarray) -> np.ndarray:  # (..., H, W)
        return _window_means(_window_means(planes, self._radius).mT, self._radius).mT


def window_radius(height: int, window: float = WINDOW) -> int:
    """Returns the radius, pixels, of the windows of the regression in a painting of this height."""
    return max(1, round(window * height))


# Not as products with band matrices: the threads of a library for these take more time than the work.


def _blurred(x: np.ndarray, axis: int, deviation: float) -> np.ndarray:
    """Blurs an axis of float32 (H, W) by a Gaussian of so many pixels, whose weights have the sum 1 at borders, too."""
    size = x.shape[axis]
    x = np.moveaxis(x, axis, 0)
    total, weights = np.zeros_like(x), np.zeros((size, 1), np.float32)
    reach = min(size - 1, math.ceil(_TAIL * deviation))
    for step in range(-reach, reach + 1):
        weight = np.float32(math.exp(-0.5 * (step / deviation) ** 2))
        targets, sources = (slice(max(0, way), size + min(0, way)) for way in (step, -step))
        total[targets] += weight * x[sources]
        weights[targets] += weight
    return np.moveaxis(total / weights, 0, axis)


def _window_means(planes: np.ndarray, radius: int) -> np.ndarray:
    """Averages rows (..., H, W) over those no further than the radius from each; the same shape."""
    height = planes.shape[-2]
    runs = np.pad(planes, [(0, 0)] * (planes.ndim - 2) + [(radius, radius), (0, 0)])
    total, length, first = np.zeros_like(planes), 1, 0
    while True:  # the sum of a window is that of runs of 1, 2, 4, ... rows, each of two of the one before
        if (2 * radius + 1) & length:
            total += runs[..., first : first + height, :]
            first += length
        if 2 * length > 2 * radius + 1:
            break
        runs = runs[..., :-length, :] + runs[..., length:, :]
        length *= 2
    place = np.arange(height)
    counts = np.minimum(place + radius, height - 1) - np.maximum(place - radius, 0) + 1
    return total / counts[:, None].astype(np.float32)
