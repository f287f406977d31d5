"""Chromatic attention: where colors go, globally by the likeness of S and locally by the edges of the luminance."""

from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from palgan_jax.nn.layers import Conv, scaled
from palgan_jax.nn.ops.attention import PATCH, attend_patches
from palgan_jax.nn.ops.columns import Picture, unpack
from palgan_jax.nn.ops.guided_filter import guided_filter, guided_slope

Attention = Literal["full", "global", "local", "none", "self"]
Local = Literal["guided", "guided_without_b", "affine"]


class ChromaticAttention(nn.Module):
    """Mixes F between places where S is alike, and along the edges of the luminance (method: section 5).

    Call with S (B, H/4, W/4, Cs), F (B, H, W, Cf) and l (B, H, W, 1); returns (B, H, W, Cf). `tpus`: kernels for these
    chips compute it where they fit.

    `attention`: "full" (the paper's), "global" or "local" (that branch alone), "none" (F as it is), or "self" (plain
    self-attention of F: queries and keys of its patches' means, residual with a gain that starts at 0; row "w SA").
    `local`: "guided", "guided_without_b", or "affine" (a and b are learned: a 3 x 3 convolution of f~ and l~).
    """

    attention: Attention = "full"
    local: Local = "guided"
    width: float = 1.0
    radius: int = 4
    eps: float = 1e-3
    spectral: bool = False
    tpus: Mesh | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, s: jax.Array, f: Picture, l: jax.Array, train: bool) -> Picture:
        if self.attention == "none":
            return f
        channels, size = f.shape[-1], scaled(64, self.width)

        def conv(name: str, features: int = size, kernel: int = 1, dtype: Any = self.dtype) -> Conv:
            return Conv(features, kernel, spectral=self.spectral, dtype=dtype, name=name)

        value = conv("value")(f, train)  # (B, H, W, size)
        if self.attention == "self":
            s = nn.avg_pool(unpack(f), (PATCH, PATCH), (PATCH, PATCH))  # (B, H/4, W/4, Cf)
        branches = []
        if self.attention != "local":
            q, k = (conv(name)(s, train).reshape(s.shape[0], -1, size) for name in ("query", "key"))  # (B, N, size)
            branches.append(attend_patches(q, k, value, self.tpus))
        if self.attention == "self":
            gain = self.param("gain", nn.initializers.zeros, ())
            return f + conv("fusion", channels)(branches[0], train) * gain.astype(f.dtype)
        if self.attention != "global":
            branches.append(self._delineate(l, value, conv, train).astype(value.dtype))
        return conv("fusion", channels)(branches, train)  # (B, H, W, Cf)

    def _delineate(self, l: jax.Array, value: Picture, conv: Callable[..., Conv], train: bool) -> Picture:
        """Models value (B, H, W, C) locally as a * guide + b, where the guide is a convolution of l to C channels."""
        if self.local == "affine":
            guide = conv("guide")(l, train)  # (B, H, W, C)
            ab = conv("affine", 2 * guide.shape[-1], 3)([value, guide], train)
            a, b = jnp.split(unpack(ab), 2, axis=-1)
            return a * guide + b
        # A 1 x 1 convolution of one channel is scale * l + offset; its values at l = 0 and l = 1 give both.
        zero_and_one = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
        offset, at_one = conv("guide", dtype=None)(zero_and_one, train)[0, 0]  # (C,) each
        scale = at_one - offset
        if self.local == "guided":
            return guided_filter(l, scale, value, self.radius, self.eps, self.tpus)
        return guided_slope(l, scale, value, self.radius, self.eps) * (scale * l + offset)
