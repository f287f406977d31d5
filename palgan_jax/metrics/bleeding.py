"""Colour bleeding: how much of a colour's change happens beside the edge that it belongs to.

A colorizer that does not know where an object ends smears its colour over the outline (Kim et al., "Deep Edge-Aware
Interactive Colorization against Color-Bleeding Effects", ICCV 2021, who count pairs of pixels that lie in different
superpixels of the truth but in one of the result). Superpixels hang on a clustering and its settings, so that here
the width of the transition is measured directly, as the blur metric of Marziliano et al. (2004) does for luminance: at
each edge of L the step of ab close across the edge is compared with the step farther across it.
"""

import jax
import jax.numpy as jnp

EDGE = 15.0
"""The step of L between the pixels left and right of one that makes it an edge, in units of L."""
NEAR, FAR = 1, 6
"""Pixels from the edge at which a narrow and a wide step of ab are taken, at 256 x 256."""


def colour_bleeding(l: jax.Array, ab: jax.Array) -> jax.Array:
    """The share (B,) of the colour steps across luminance edges that lies outside the edges; about 0 to 1.

    l: L of the photograph, (B, H, W) in [0, 100]. ab: the colours, (B, H, W, 2) in units of Lab. H and W at least 14.

    0: colours change within a pixel of the edge. 1: they change as if there were no edge. It is 1 - sum(n . f) /
    sum(f . f) over the horizontal and vertical edges of a picture, n and f being the steps of ab over `NEAR` and
    `FAR` pixels to either side, so that edges with little colour count little and saturation cancels out. A picture
    without any colour step at an edge (a gray one) gives 0: read it beside colourfulness. The truth has a value of
    its own (optical blur, chroma subsampling), so that the difference to the truth's is what is to be reported.
    """
    sums = [_steps(l, ab, axis) for axis in (1, 2)]
    product, square = (sum(parts) for parts in zip(*sums, strict=True))
    return jnp.where(square > 1e-6, 1 - product / jnp.maximum(square, 1e-6), 0.0)


def _steps(l: jax.Array, ab: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """sum(n . f) and sum(f . f), each (B,), over the edges that are crossed when going along an axis."""
    size = l.shape[axis] - 2 * FAR

    def at(x: jax.Array, offset: int) -> jax.Array:
        return jax.lax.slice_in_dim(x, FAR + offset, FAR + offset + size, axis=axis)

    strength = [jnp.abs(at(l, i + 1) - at(l, i - 1)) for i in (-1, 0, 1)]
    # A thin edge: the pixel where L changes fastest. Of two that are equal, one counts.
    edge = (strength[1] >= EDGE) & (strength[1] > strength[0]) & (strength[1] >= strength[2])
    near, far = at(ab, NEAR) - at(ab, -NEAR), at(ab, FAR) - at(ab, -FAR)
    product, square = jnp.sum(near * far, axis=-1), jnp.sum(far * far, axis=-1)
    return jnp.sum(jnp.where(edge, product, 0), axis=(1, 2)), jnp.sum(jnp.where(edge, square, 0), axis=(1, 2))
