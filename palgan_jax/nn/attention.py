"""Chromatic attention: where colors go, seen globally through S and delineated locally by the luminance."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from palgan_jax.nn.layers import Conv, scaled
from palgan_jax.nn.ops.columns import fold, strip, unstrip
from palgan_jax.nn.ops.guided_filter import guided_filter, guided_slope
from palgan_jax.nn.ops.tpu import attention as tpu_attend
from palgan_jax.nn.ops.tpu import guided_filter as tpu_guided_filter

Attention = Literal["full", "global", "local", "none", "self"]
Local = Literal["guided", "guided_without_b", "affine"]

PATCH = 4


def cut_patches(x: jax.Array) -> jax.Array:
    """Cuts (B, H, W, C) into patches that do not overlap: (B, N, PATCH * PATCH * C), N in rows of W / PATCH."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // PATCH, PATCH, width // PATCH, PATCH, channels)
    return x.swapaxes(2, 3).reshape(batch, -1, PATCH * PATCH * channels)


def fold_patches(patches: jax.Array, height: int, width: int) -> jax.Array:
    """The inverse of `cut_patches`: (B, N, PATCH * PATCH * C) to (B, height, width, C)."""
    batch = patches.shape[0]
    x = patches.reshape(batch, height // PATCH, width // PATCH, PATCH, PATCH, -1)
    return x.swapaxes(2, 3).reshape(batch, height, width, -1)


def cut_slabs(x: jax.Array, strips: int) -> jax.Array:
    """What `cut_patches` cuts, of a picture in strips of n columns, in slabs: (B, PATCH * PATCH / n, N, n C).

    A patch is the same entry of all slabs; to move whole pixels is cheaper than to put a patch together.
    """
    batch, height, width, channels = x.shape
    across = PATCH // strips
    x = x.reshape(batch, height // PATCH, PATCH, width // across, across, channels)
    return x.transpose(0, 2, 4, 1, 3, 5).reshape(batch, PATCH * across, -1, channels)


def fold_slabs(slabs: jax.Array, height: int) -> jax.Array:
    """The inverse of `cut_slabs`, for a picture of this height: (B, height, W / n, n C)."""
    batch, count, _, channels = slabs.shape
    x = slabs.reshape(batch, PATCH, count // PATCH, height // PATCH, -1, channels)
    return x.transpose(0, 3, 1, 4, 2, 5).reshape(batch, height, -1, channels)


def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """softmax(q k^T / sqrt(C)) v for q, k (B, N, C) and v (B, N, D); the softmax in float32. Returns (B, N, D)."""
    scores = jnp.einsum("bnc,bmc->bnm", q, k, preferred_element_type=jnp.float32)  # (B, N, N)
    weights = nn.softmax(scores / np.sqrt(q.shape[-1]).astype(np.float32), axis=-1)
    return jnp.einsum("bnm,bmd->bnd", weights.astype(v.dtype), v)


class ChromaticAttention(nn.Module):
    """Mixes F by what S holds to be alike, and by the edges of the luminance (method: section 5).

    Call with S (B, H/4, W/4, Cs), F (B, H, W, Cf) and l (B, H, W, 1); returns (B, H, W, Cf). With `strips`, F and the
    result are strips of so many columns (ops/columns.py). `tpus`: the kernels for these chips are used where they fit.

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
    strips: int = 1
    tpus: Mesh | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, s: jax.Array, f: jax.Array, l: jax.Array, train: bool) -> jax.Array:
        if self.attention == "none":
            return f
        n = self.strips
        channels, size = f.shape[-1] // n, scaled(64, self.width)
        everywhere = (n, n)

        def conv(name: str, features: int = size, kernel: int = 1, dtype: Any = self.dtype, strips=everywhere) -> Conv:
            return Conv(features, kernel, spectral=self.spectral, strips=strips, dtype=dtype, name=name)

        value = conv("value")(f, train)  # (B, H, W, size), in strips as f
        if self.attention == "self":
            s = fold(nn.avg_pool(f, (PATCH, PATCH // n), (PATCH, PATCH // n)), n)
        branches = []
        if self.attention != "local":
            q, k = (
                conv(name, strips=(1, 1))(s, train).reshape(s.shape[0], -1, size)  # (B, N, size)
                for name in ("query", "key")
            )
            branches.append(self._interact(q, k, value))
        if self.attention == "self":
            gain = self.param("gain", nn.initializers.zeros, ())
            return f + gain.astype(f.dtype) * conv("fusion", channels)(branches[0], train)
        if self.attention != "global":
            branches.append(self._delineate(l, value, conv, train).astype(value.dtype))
        return conv("fusion", channels)(branches, train)  # (B, H, W, Cf)

    def _interact(self, q: jax.Array, k: jax.Array, value: jax.Array) -> jax.Array:
        height = value.shape[1]
        slabs = cut_slabs(value, self.strips)
        if self.tpus is not None and tpu_attend.fits(q, slabs, self.tpus):
            return fold_slabs(tpu_attend.attend(q, k, slabs, self.tpus), height)
        patches = attend(q, k, cut_patches(unstrip(value, self.strips)))
        return strip(fold_patches(patches, height, value.shape[2] * self.strips), self.strips)

    def _delineate(self, l: jax.Array, value: jax.Array, conv, train: bool) -> jax.Array:
        n = self.strips
        if self.local == "affine":
            guide = conv("guide", strips=(1, n))(l, train)
            both = conv("affine", 2 * (guide.shape[-1] // n), 3)([value, guide], train)
            a, b = jnp.split(unstrip(both, n), 2, axis=-1)
            return strip(a, n) * guide + strip(b, n)
        # The guide is a convolution of one channel with one pixel: its values at 0 and at 1 say it all.
        two = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
        offset, one = conv("guide", dtype=None, strips=(1, 1))(two, train)[0, 0]  # (size,) each
        scale = one - offset
        tpus = self.tpus
        if self.local == "guided" and tpus is not None and tpu_guided_filter.fits(value, self.radius, n, tpus):
            return tpu_guided_filter.guided_filter(l, scale, value, self.radius, self.eps, n, tpus)
        whole = unstrip(value, n)
        if self.local == "guided":
            return strip(guided_filter(l, scale, whole, self.radius, self.eps), n)
        return strip(guided_slope(l, scale, whole, self.radius, self.eps) * (scale * l + offset), n)
