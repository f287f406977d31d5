"""Color bleeding: how far a color is smeared over the edges at which it should end.

A colorizer that does not know where an object ends paints over its outline (Kim et al., "Deep Edge-Aware Interactive
Colorization against Color-Bleeding Effects", ICCV 2021). They count pairs of pixels that lie in different superpixels
of the truth and in one of the result, which depends on the clustering and its settings. Here the width of the
transition is measured instead, as Marziliano et al. ("A no-reference perceptual blur metric", ICIP 2002) do for
luminance: where the truth's color changes sharply at an edge of its luminance, the step of the predicted color close
across that edge is compared with its step farther across. The measure is this project's own.
"""

import jax
import jax.numpy as jnp

from palgan_jax.color import bytes_to_lab

NEAR, FAR = 1, 6
"""Pixels to either side of an edge at which a narrow and a wide step of ab are taken, at 256 x 256."""
LUMINANCE_STEP = 10.0
"""The step of L between the two neighbors of a pixel that makes it an edge."""
COLOR_STEP = 10.0
"""The wide step of ab, in units of Lab, that the truth has at least."""
SHARPNESS = 0.7
"""The share of the truth's wide step that its narrow step has at least."""


def color_bleeding(predicted: jax.Array, truth: jax.Array) -> jax.Array:
    """Computes how smeared colors are at the truth's edges, (B,), of sRGB pictures (B, H, W, 3) in [0, 255].

    0: the predicted colors change within a pixel of the edges, 1: as evenly as if there were no edges, and seldom
    outside of that. With n and f the steps of the predicted ab over `NEAR` and `FAR` pixels to either side, it is
    (1 - sum(n . f) / sum(f . f)) / (1 - NEAR / FAR), over all edges of a picture along rows and columns: an edge at
    which no color was predicted has no weight, so that pale colors are no worse than strong ones. A picture without
    such an edge, or without color, has 0: read it beside colorfulness. The truth itself has about 0.1.
    """
    true_lab, ab = bytes_to_lab(truth), bytes_to_lab(predicted)[..., 1:]
    sums = [_steps(true_lab, ab, axis) for axis in (1, 2)]
    product, square = (sum(parts) for parts in zip(*sums, strict=True))
    smeared = (1 - product / jnp.maximum(square, 1e-6)) / (1 - NEAR / FAR)
    return jnp.where(square > 1e-6, smeared, 0.0)


def _steps(true_lab: jax.Array, ab: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Computes sum(n . f) and sum(f . f), each (B,), over the edges that are crossed along an axis."""
    size = true_lab.shape[axis] - 2 * FAR

    def at(x: jax.Array, offset: int) -> jax.Array:
        return jax.lax.slice_in_dim(x, FAR + offset, FAR + offset + size, axis=axis)

    def products(ab: jax.Array) -> tuple[jax.Array, jax.Array]:
        near, far = at(ab, NEAR) - at(ab, -NEAR), at(ab, FAR) - at(ab, -FAR)
        return jnp.sum(near * far, axis=-1), jnp.sum(far * far, axis=-1)

    l = true_lab[..., 0]
    before, middle, after = (jnp.abs(at(l, i + 1) - at(l, i - 1)) for i in (-1, 0, 1))
    # A thin edge: the pixel where L changes fastest. Of two that are equal, one counts.
    edge = (middle >= LUMINANCE_STEP) & (middle > before) & (middle >= after)
    true_product, true_square = products(true_lab[..., 1:])
    edge &= (true_square >= COLOR_STEP**2) & (true_product >= SHARPNESS * true_square)
    product, square = products(ab)
    return jnp.sum(jnp.where(edge, product, 0), axis=(1, 2)), jnp.sum(jnp.where(edge, square, 0), axis=(1, 2))
