"""Palettes: the 16 x 16 histogram of a picture's colors, how far two lie apart, and a drawing of one.

Axis glossary of the whole package: B batch, H W pixels, C channels, K palette bins (16 x 16 = 256), N attention tokens.
A palette is float32 of shape (..., K); the flat index of bin (i_a, i_b) is `bins * i_a + i_b`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.color import AB_RANGE, Array, from_bytes, lab_to_rgb
from palgan_jax.palette.spec import PaletteSpec


def bin_centers(spec: PaletteSpec = PaletteSpec()) -> np.ndarray:
    """Returns the centers of the bins along one axis, (bins,), normalized units."""
    return np.linspace(-spec.half_range, spec.half_range, spec.bins, dtype=np.float32)


def votes(x: Array, spec: PaletteSpec = PaletteSpec()) -> Array:
    """Computes the votes (..., bins) of normalized coordinates x (...) for the bins of one axis; NumPy's by NumPy."""
    xp: Any = np if isinstance(x, np.ndarray) else jnp
    distance = x[..., None] - bin_centers(spec)
    if spec.kernel == "inverse_quadratic":
        return 1 / (1 + (distance / spec.sigma) ** 2)
    if spec.kernel == "gaussian":
        return xp.exp(-0.5 * (distance / spec.sigma) ** 2)
    nearest = xp.argmin(abs(distance), axis=-1)
    return (nearest[..., None] == np.arange(spec.bins)).astype(np.float32)


def histogram(ab: jax.Array, spec: PaletteSpec = PaletteSpec()) -> jax.Array:
    """Counts the palette (..., K) of normalized ab (..., H, W, 2), which is ab / 110 (method: section 2).

    Every pixel votes for all bins through the kernel, the same whatever its luminance. It is one contraction of
    (pixels x bins) with (pixels x bins), so it is cheap on any device and has a gradient (not with kernel "hard").
    """
    *batch, height, width, _ = ab.shape
    ab = jnp.asarray(ab, jnp.float32).reshape(*batch, height * width, 2)
    counts = jnp.einsum(
        "...pi,...pj->...ij", votes(ab[..., 0], spec), votes(ab[..., 1], spec), precision=jax.lax.Precision.HIGHEST
    )  # (..., bins, bins)
    return normalized(counts.reshape(*batch, spec.size), spec)  # (..., K)


def normalized(counts: jax.Array | np.ndarray, spec: PaletteSpec = PaletteSpec()) -> jax.Array:
    """Divides counts (..., K) by their sum or their largest, as palettes of `spec` are; float32."""
    counts = jnp.asarray(counts, jnp.float32)
    scale = jnp.sum if spec.normalization == "sum" else jnp.max
    return counts / (scale(counts, axis=-1, keepdims=True) + 1e-6)


def of_picture(rgb: jax.Array, spec: PaletteSpec = PaletteSpec(), ab_range: float = AB_RANGE) -> jax.Array:
    """Counts the palettes (..., K) of 8-bit sRGB pictures (..., H, W, 3), of any type."""
    _, c = from_bytes(rgb, ab_range)
    return histogram(c, spec)


def as_distribution(h: jax.Array) -> jax.Array:
    """Divides palettes (..., K) by their sum."""
    return h / (jnp.sum(h, axis=-1, keepdims=True) + 1e-6)


def entropy(h: jax.Array) -> jax.Array:
    """Computes the entropy (...) in nats, at most log K, of palettes (..., K) divided by their sum."""
    p = as_distribution(h)
    return -jnp.sum(p * jnp.log(jnp.maximum(p, 1e-12)), axis=-1)


def hellinger(h: jax.Array, g: jax.Array) -> jax.Array:
    """Computes the Hellinger distance (...), in [0, 1], of palettes h and g (..., K), each divided by its sum."""
    difference = jnp.sqrt(as_distribution(h) + 1e-12) - jnp.sqrt(as_distribution(g) + 1e-12)
    return jnp.sqrt(0.5 * jnp.sum(difference**2, axis=-1) + 1e-12)


def bin_colors(spec: PaletteSpec = PaletteSpec(), lightness: float = 65.0, ab_range: float = AB_RANGE) -> np.ndarray:
    """Returns the sRGB colors (bins, bins, 3), in [0, 1], of the bin centers (i_a, i_b) at an L in [0, 100]."""
    a, b = np.meshgrid(bin_centers(spec) * ab_range, bin_centers(spec) * ab_range, indexing="ij")
    lab = np.stack([np.full_like(a, lightness), a, b], axis=-1)
    return np.clip(np.asarray(lab_to_rgb(jnp.asarray(lab))), 0, 1)


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
