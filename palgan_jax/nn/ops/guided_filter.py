"""The guided filter (He et al., 2010), on each platform: a picture as a local linear model of a guide."""

import jax
from jax.sharding import Mesh

from palgan_jax.nn.ops.columns import Picture, pack, packed_columns, unpack
from palgan_jax.nn.ops.local_regression import regress, regression_slope
from palgan_jax.nn.ops.tpu import guided_filter as tpu


def guided_filter(
    l: jax.Array, scale: jax.Array, x: Picture, radius: int, eps: float, tpus: Mesh | None = None
) -> Picture:
    """Computes a local linear model of each channel of x in a guide, scale * l (method: section 5); float32 inside.

    l is (B, H, W, 1), x (B, H, W, C), scale (C,); returns x's shape and type. Where the guide has an edge the result
    has one, and where it is flat the result is the local mean of x. An offset of the guide would cancel against that of
    the model. On a mesh of TPUs a kernel computes it where it fits.
    """
    if tpus is not None and tpu.fits(x, radius, tpus):
        return tpu.guided_filter(l, scale, x, radius, eps, tpus)
    return pack(regress(l, scale, unpack(x), radius, eps), packed_columns(x))


def guided_slope(l: jax.Array, scale: jax.Array, x: Picture, radius: int, eps: float) -> Picture:
    """Computes the factor of the guide in that model, averaged over windows: x's shape, float32."""
    return pack(regression_slope(l, scale, unpack(x), radius, eps), packed_columns(x))
