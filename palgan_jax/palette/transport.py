"""A painting's colors, moved until they have the palette that was asked for, by optimal transport.

G follows its palette, but not to the letter: as regression does, it paints paler and more alike than asked. Here colors
are moved by a smooth map of the ab plane, the same for all pixels. With p the palette of the painting, h the one that
was asked for, and T(p, q) the barycentric map of the optimal transport from p to q with entropic regularization, on the
bins of the palettes (Cuturi, "Sinkhorn distances", 2013; Ferradans et al., "Regularized discrete optimal transport",
SIAM J. Imaging Sciences 2014, who recolor pictures by such maps),

    c' = c + s (T(p, h) - T(p, p))(c)

T(p, p), which the regularization draws to the middle, is subtracted, as in the gradient of a Sinkhorn divergence (Feydy
et al., "Interpolating between optimal transport and MMD using Sinkhorn divergences", AISTATS 2019): what has its
palette stays. The kernel of palettes blurs p and h alike, so that nothing has to be deblurred.

The predicted palette is a mean of what is possible, and its spread is doubt as well as color: it is not followed, nor
half as much what lies near it. `docs/model.md` has the figures.
"""

import numpy as np

from palgan_jax.color import AB_RANGE, Array, exact, namespace
from palgan_jax.palette.histogram import as_distribution, bin_centers, hellinger, histogram
from palgan_jax.palette.spec import PaletteSpec

NEAR = 0.1
"""The Hellinger distance from the predicted palette from which on a palette is followed wholly; less below it."""
_ITERATIONS = 20  # of Sinkhorn's
_COUNTED_AT = 128  # pixels a side
_FLOOR, _LEAST = 1e-6, 1e-6  # of all bins together, and of the kernel along an axis: float32 divides by both


def followed(
    ab: Array,
    h: Array,
    predicted: Array,
    spec: PaletteSpec = PaletteSpec(),
    ab_range: float = AB_RANGE,
    weights: Array | None = None,
) -> Array:
    """Returns paintings, ab (..., H, W, 2) in Lab units, with colors that follow the palettes h (..., K).

    Args:
      predicted: the palettes (..., K) that were predicted for the pictures.
      spec, ab_range: how palettes are counted.
      weights: how much each pixel counts, (..., H, W); all the same where None.
    """
    xp = namespace(ab, h)
    strength = xp.minimum(hellinger(h, predicted) / NEAR, xp.ones_like(h[..., 0]))
    every = max(1, ab.shape[-2] // _COUNTED_AT)
    weights_of_sample = None if weights is None else weights[..., ::every, ::every]
    painted_shares = histogram(ab[..., ::every, ::every, :] / ab_range, spec, weights_of_sample)
    change = strength[..., None, None, None] * _map(as_distribution(painted_shares), as_distribution(h), spec)
    return ab + ab_range * _looked_up(change, ab / ab_range, spec)


def _map(p: Array, h: Array, spec: PaletteSpec) -> Array:
    """Returns where the colors of bins go from p to h (..., K): (..., bins, bins, 2), normalized units."""
    xp = namespace(p, h)
    centers = bin_centers(spec)
    step = centers[1] - centers[0]
    near_on_axis = np.maximum(np.exp(-0.5 * ((centers[:, None] - centers) / step) ** 2), _LEAST)
    kernel = xp.asarray(np.kron(near_on_axis, near_on_axis), dtype=xp.float32)  # (K, K)
    places = np.stack(np.meshgrid(centers, centers, indexing="ij"), -1).reshape(spec.size, 2)
    # Of one sum, also where no pixel counts.
    p, h = (x / xp.sum(x, axis=-1, keepdims=True) for x in (p + _FLOOR / spec.size, h + _FLOOR / spec.size))
    source = p[..., None, :]
    targets = xp.stack([h, p], axis=-2)  # (..., 2, K)

    def blurred(x: Array) -> Array:
        return xp.matmul(x, kernel, **exact(xp))

    at_target = xp.ones_like(targets)
    for _ in range(_ITERATIONS):
        at_source = source / blurred(at_target)
        at_target = targets / blurred(at_source)
    totals = blurred(at_target)
    ends = xp.stack([blurred(at_target * places[:, i]) / totals for i in range(2)], axis=-1)  # (..., 2, K, 2)
    change = ends[..., 0, :, :] - ends[..., 1, :, :]
    return change.reshape(*change.shape[:-2], spec.bins, spec.bins, 2)


def _looked_up(change: Array, c: Array, spec: PaletteSpec) -> Array:
    """Interpolates what the bins have (..., bins, bins, 2) at colors (..., H, W, 2): bilinear, (..., H, W, 2)."""
    xp = namespace(change, c)
    bins, last = spec.bins, spec.bins - 1
    height, width = c.shape[-3:-1]
    at = xp.clip((c / spec.half_range + 1) * np.float32(last / 2), 0, last).reshape(-1, height * width, 2)
    low = xp.minimum(at.astype(xp.int32), last - 1)  # (pictures, pixels, 2)
    share = at - low.astype(xp.float32)
    corner = bins**2 * np.arange(at.shape[0], dtype=np.int32)[:, None] + bins * low[..., 0] + low[..., 1]
    values = change.reshape(-1, 2)
    a, b = share[..., :1], share[..., 1:]

    def along_b(at_low: Array) -> Array:
        first = xp.take(values, at_low, axis=0)
        return first + b * (xp.take(values, at_low + 1, axis=0) - first)

    first = along_b(corner)
    return (first + a * (along_b(corner + bins) - first)).reshape(c.shape)
