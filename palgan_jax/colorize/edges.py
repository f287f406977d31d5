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

import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.nn.ops.local_regression import HIGHEST, regression_slope

BLUR = 3 / 256
"""The standard deviation of the painting's blur, as a share of its side."""
WINDOW = 8 / 256
"""The radius of the windows of the regression, as a share of the painting's side."""
SLIGHT = 9.0
"""The variance of L, in L^2, at which a window takes half of the regression's slope. Grain has less, edges more."""


def along_edges(
    lightness: jax.Array, ab: jax.Array, blur: float = BLUR, window: float = WINDOW
) -> tuple[jax.Array, jax.Array]:
    """Returns ab as a local linear function of L, the offset and the slope, (B, H, W, 2) each: offset + slope * L.

    lightness: L (B, H, W) in [0, 100], of the size of the painting.
    ab: the painting, (B, H, W, 2), Lab units.
    blur, window: as BLUR and WINDOW, of a painting of another kind.
    """
    height, width = lightness.shape[1:]
    blurred = jnp.einsum(
        "ih,jw,bhw->bij", blur_matrix(height, blur), blur_matrix(width, blur), lightness, precision=HIGHEST
    )[..., None]  # (B, H, W, 1)
    slope = regression_slope(blurred, jnp.ones(2), ab, max(1, round(window * height)), SLIGHT)
    return ab - slope * blurred, slope


def blur_matrix(size: int, blur: float = BLUR) -> np.ndarray:
    """Returns (N, N), whose row i holds the weights of an axis's pixels around i: Gaussian, with a sum of 1."""
    place = np.arange(size) / (blur * size)
    weights = np.exp(-0.5 * (place[:, None] - place) ** 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
