"""Chromatic attention: where colors go, globally by the likeness of S and locally by the edges of the luminance."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from palgan_jax.choices import Attention, Guide, Init, Local
from palgan_jax.nn.dimensions import PATCH, RADIUS_SIDE
from palgan_jax.nn.layers import LECUN, XAVIER, Conv, scaled
from palgan_jax.nn.ops.attention import attend_patches
from palgan_jax.nn.ops.columns import Picture, unpack
from palgan_jax.nn.ops.guided_filter import guided_filter, guided_slope


class ChromaticAttention(nn.Module):
    """Mixes F between places where S is alike, and along the edges of the luminance (method: section 5).

    Call with S (B, H/4, W/4, Cs), F (B, H, W, Cf) and l (B, H, W, 1); returns (B, H, W, Cf). `tpus`: kernels for these
    chips compute it where they fit.

    `attention`: "full" (the paper's), "global" or "local" (that branch alone), "none" (F as it is), or "self" (plain
    self-attention of F: queries and keys of its patches' means, residual with a gain that starts at 0; row "w SA").
    `local`: "guided", "guided_without_b", or "affine" (a and b are learned: a 3 x 3 convolution of f~ and l~).
    `guide`: l~ is the luminance itself, one guide for all channels, or a 1 x 1 convolution of it. Spectral norm makes
    that convolution so small that `eps` blurs most of the luminance's detail away (method: section 11).
    `radius`: of the guided filter's windows, in pixels of F of a 256 x 256 picture, 128 x 128; at least 1 of others.
    `residual`: F is added to the result.
    """

    attention: Attention = "full"
    local: Local = "guided"
    guide: Guide = "luminance"
    residual: bool = False
    width: float = 1.0
    radius: int = 4
    eps: float = 1e-3
    spectral: bool = False
    first_weights: Init = "xavier"
    tpus: Mesh | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, s: jax.Array, f: Picture, l: jax.Array, train: bool) -> Picture:
        if self.attention == "none":
            return f
        channels, size = f.shape[-1], scaled(64, self.width)

        def conv(
            name: str, features: int = size, kernel: int = 1, use_bias: bool = True, dtype: Any = self.dtype
        ) -> Conv:
            return Conv(
                features, kernel, use_bias=use_bias, spectral=self.spectral,
                kernel_init=LECUN if self.first_weights == "he" else XAVIER, dtype=dtype, name=name,
            )  # fmt: skip

        value = conv("value")(f, train)  # (B, H, W, size)
        if self.attention == "self":
            s = nn.avg_pool(unpack(f), (PATCH, PATCH), (PATCH, PATCH))  # (B, H/4, W/4, Cf)
        branches = []
        if self.attention != "local":
            # A bias of the keys would add the same to all scores of a query, which the softmax cancels.
            q, k = conv("query")(s, train), conv("key", use_bias=False)(s, train)  # (B, H/4, W/4, size)
            q, k = (x.reshape(s.shape[0], -1, size) for x in (q, k))  # (B, N, size)
            branches.append(attend_patches(q, k, value, self.tpus))
        if self.attention == "self":
            gain = self.param("gain", nn.initializers.zeros, ())
            return f + conv("fusion", channels)(branches[0], train) * gain.astype(f.dtype)
        if self.attention != "global":
            branches.append(self._delineate(l, value, conv, train).astype(value.dtype))
        fused = conv("fusion", channels)(branches, train)  # (B, H, W, Cf)
        return f + fused if self.residual else fused

    def _delineate(self, l: jax.Array, value: Picture, conv: Callable[..., Conv], train: bool) -> Picture:
        """Models value (B, H, W, C) locally as a * guide + b, where the guide is l or a convolution of it."""
        if self.local == "affine":
            guide = conv("guide")(l, train) if self.guide == "convolution" else l  # (B, H, W, C or 1)
            ab = conv("affine", 2 * value.shape[-1], 3)([value, guide], train)
            a, b = jnp.split(unpack(ab), 2, axis=-1)
            return a * guide + b
        # A 1 x 1 convolution of one channel is scale * l; a bias of it would cancel in the guided filter.
        scale = jnp.ones(value.shape[-1])
        if self.guide == "convolution":
            scale = conv("guide", use_bias=False, dtype=None)(jnp.ones((1, 1, 1, 1)), train)[0, 0, 0]  # (C,)
        radius = max(1, round(self.radius * 2 * min(l.shape[1:3]) / RADIUS_SIDE))
        if self.local == "guided":
            return guided_filter(l, scale, value, radius, self.eps, self.tpus)
        return guided_slope(l, scale, value, radius, self.eps) * (scale * l)
