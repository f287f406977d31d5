"""Palettes: the 16 x 16 histogram of a picture's colors, how far two lie apart, and a drawing of one.

Axis glossary of the whole package: B batch, H W pixels, C channels, K palette bins (16 x 16 = 256), N attention tokens.
A palette is float32 of shape (..., K); the flat index of bin (i_a, i_b) is `bins * i_a + i_b`. As in `color`, arrays
of NumPy are computed on the host, and those of JAX by its programs.
"""

import numpy as np

from palgan_jax.color import AB_RANGE, Array, exact, from_bytes, lab_to_rgb, namespace
from palgan_jax.palette.spec import PaletteSpec


def bin_centers(spec: PaletteSpec = PaletteSpec()) -> np.ndarray:
    """Returns the centers of the bins along one axis, (bins,), normalized units."""
    return np.linspace(-spec.half_range, spec.half_range, spec.bins, dtype=np.float32)


def votes(x: Array, spec: PaletteSpec = PaletteSpec()) -> Array:
    """Computes the votes (..., bins) of normalized coordinates x (...) for the bins of one axis."""
    xp = namespace(x)
    distance = x[..., None] - bin_centers(spec)
    if spec.kernel == "inverse_quadratic":
        return 1 / (1 + (distance / spec.sigma) ** 2)
    if spec.kernel == "gaussian":
        return xp.exp(-0.5 * (distance / spec.sigma) ** 2)
    nearest = xp.argmin(abs(distance), axis=-1)
    return (nearest[..., None] == np.arange(spec.bins)).astype(np.float32)


def histogram(ab: Array, spec: PaletteSpec = PaletteSpec(), weights: Array | None = None) -> Array:
    """Counts the palette (..., K) of normalized ab (..., H, W, 2), which is ab / 110 (method: section 2).

    Every pixel votes for all bins through the kernel, the same whatever its luminance, or as `weights` (..., H, W) say.
    It is one contraction of (pixels x bins) with (pixels x bins), so it is cheap on any device and has a gradient (not
    with kernel "hard").
    """
    xp = namespace(ab)
    *batch, height, width, _ = ab.shape
    ab = xp.asarray(ab, dtype=xp.float32).reshape(*batch, height * width, 2)
    a, b = votes(ab[..., 0], spec), votes(ab[..., 1], spec)
    if weights is not None:
        a *= weights.reshape(*batch, height * width, 1)
    counts = xp.matmul(xp.matrix_transpose(a), b, **exact(xp))  # (..., bins, bins)
    return normalized(counts.reshape(*batch, spec.size), spec)  # (..., K)


def normalized(counts: Array, spec: PaletteSpec = PaletteSpec()) -> Array:
    """Divides counts (..., K) by their sum or their largest, as palettes of `spec` are; float32."""
    xp = namespace(counts)
    counts = xp.asarray(counts, dtype=xp.float32)
    scale = xp.sum if spec.normalization == "sum" else xp.max
    return counts / (scale(counts, axis=-1, keepdims=True) + 1e-6)


def of_picture(rgb: Array, spec: PaletteSpec = PaletteSpec(), ab_range: float = AB_RANGE) -> Array:
    """Counts the palettes (..., K) of 8-bit sRGB pictures (..., H, W, 3), of any type."""
    _, c = from_bytes(rgb, ab_range)
    return histogram(c, spec)


def as_distribution(h: Array) -> Array:
    """Divides palettes (..., K) by their sum."""
    return h / (namespace(h).sum(h, axis=-1, keepdims=True) + 1e-6)


def entropy(h: Array) -> Array:
    """Computes the entropy (...) in nats, at most log K, of palettes (..., K) divided by their sum."""
    xp, p = namespace(h), as_distribution(h)
    return -xp.sum(p * xp.log(xp.maximum(p, 1e-12)), axis=-1)


def hellinger(h: Array, g: Array) -> Array:
    """Computes the Hellinger distance (...), in [0, 1], of palettes h and g (..., K), each divided by its sum."""
    xp = namespace(h, g)
    difference = xp.sqrt(as_distribution(h) + 1e-12) - xp.sqrt(as_distribution(g) + 1e-12)
    return xp.sqrt(0.5 * xp.sum(difference**2, axis=-1) + 1e-12)


def bin_colors(spec: PaletteSpec = PaletteSpec(), lightness: float = 65.0, ab_range: float = AB_RANGE) -> np.ndarray:
    """Returns the sRGB colors (bins, bins, 3), in [0, 1], of the bin centers (i_a, i_b) at an L in [0, 100]."""
    a, b = np.meshgrid(bin_centers(spec) * ab_range, bin_centers(spec) * ab_range, indexing="ij")
    lab = np.stack([np.full_like(a, lightness), a, b], axis=-1)
    return np.clip(lab_to_rgb(lab), 0, 1)


def picture(
    h: np.ndarray,
    spec: PaletteSpec = PaletteSpec(),
    *,
    cell: int = 8,
    lightness: float = 65.0,
    background: int = 24,
    ab_range: float = AB_RANGE,
) -> np.ndarray:
    """Draws one palette (K,) over the ab plane, a to the right and b upwards.

    Each bin is a square of `cell` pixels in the color of its center, lit by the square root of its share of the
    largest bin, so that rare colors can still be seen. Returns uint8 (bins * cell, bins * cell, 3).
    """
    weights = np.asarray(h, np.float32).reshape(spec.bins, spec.bins, 1)
    light = np.sqrt(np.clip(weights / max(float(weights.max()), 1e-12), 0, 1))
    cells = light * bin_colors(spec, lightness, ab_range) * 255 + (1 - light) * background  # (i_a, i_b, 3)
    upright = cells.transpose(1, 0, 2)[::-1]  # rows: b from high to low; columns: a
    return np.round(np.kron(upright, np.ones((cell, cell, 1)))).astype(np.uint8)
