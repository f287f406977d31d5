"""Chromatic attention: where colours go, seen globally through S and delineated locally by the luminance."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.nn.layers import Conv, scaled

Attention = Literal["full", "global", "local", "none", "self"]
Local = Literal["guided", "guided_without_b", "affine"]

PATCH = 4


def box_mean(x: jax.Array, radius: int) -> jax.Array:
    """The mean over windows of 2 * radius + 1 pixels a side, cut at the borders. (B, H, W, C), same shape out."""
    for axis in (1, 2):
        size = x.shape[axis]
        padding = [(0, 0)] * x.ndim
        padding[axis] = (radius, radius)
        padded = jnp.pad(x, padding)
        windows = [jax.lax.slice_in_dim(padded, k, k + size, axis=axis) for k in range(2 * radius + 1)]
        place = np.arange(size)
        count = np.minimum(place + radius, size - 1) - np.maximum(place - radius, 0) + 1
        count = np.expand_dims(count, [i for i in range(x.ndim) if i != axis]).astype(np.float32)
        x = sum(windows[1:], windows[0]) / count
    return x


def guided_filter(guide: jax.Array, x: jax.Array, radius: int, eps: float, with_b: bool = True) -> jax.Array:
    """A local linear model of x in the guide, channel by channel (method: section 5); float32.

    guide and x are (B, H, W, C). Where the guide has an edge the result has one, and where it is flat the result is
    the local mean of x. `with_b=False` leaves out the offset b.
    """
    guide, x = guide.astype(jnp.float32), x.astype(jnp.float32)
    mean_guide, mean_x = box_mean(guide, radius), box_mean(x, radius)
    covariance = box_mean(guide * x, radius) - mean_guide * mean_x
    variance = box_mean(guide * guide, radius) - mean_guide**2
    a = covariance / (variance + eps)
    out = box_mean(a, radius) * guide
    return out + box_mean(mean_x - a * mean_guide, radius) if with_b else out


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


def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """softmax(q k^T / sqrt(C)) v for q, k (B, N, C) and v (B, N, D); the softmax in float32. Returns (B, N, D)."""
    scores = jnp.einsum("bnc,bmc->bnm", q, k, preferred_element_type=jnp.float32)  # (B, N, N)
    weights = nn.softmax(scores / np.sqrt(q.shape[-1]).astype(np.float32), axis=-1)
    return jnp.einsum("bnm,bmd->bnd", weights.astype(v.dtype), v)


class ChromaticAttention(nn.Module):
    """Mixes F by what S holds to be alike, and by the edges of the luminance (method: section 5).

    Call with S (B, H/4, W/4, Cs), F (B, H, W, Cf) and l (B, H, W, 1); returns (B, H, W, Cf).

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
    dtype: Any = None

    @nn.compact
    def __call__(self, s: jax.Array, f: jax.Array, l: jax.Array, train: bool) -> jax.Array:
        if self.attention == "none":
            return f
        channels, size = f.shape[-1], scaled(64, self.width)
        height, width = f.shape[1:3]

        def conv(name: str, features: int = size, kernel: int = 1) -> Conv:
            return Conv(features, kernel, spectral=self.spectral, dtype=self.dtype, name=name)

        value = conv("value")(f, train)  # (B, H, W, size)
        if self.attention == "self":
            s = nn.avg_pool(f, (PATCH, PATCH), (PATCH, PATCH))
        branches = []
        if self.attention != "local":
            q, k = (conv(name)(s, train).reshape(s.shape[0], -1, size) for name in ("query", "key"))  # (B, N, size)
            branches.append(fold_patches(attend(q, k, cut_patches(value)), height, width))
        if self.attention == "self":
            gain = self.param("gain", nn.initializers.zeros, ())
            return f + gain.astype(f.dtype) * conv("fusion", channels)(branches[0], train)
        if self.attention != "global":
            guide = conv("guide")(l, train)
            branches.append(self._delineate(guide, value, conv, train).astype(value.dtype))
        return conv("fusion", channels)(jnp.concatenate(branches, axis=-1), train)  # (B, H, W, Cf)

    def _delineate(self, guide: jax.Array, value: jax.Array, conv, train: bool) -> jax.Array:
        if self.local == "affine":
            both = conv("affine", 2 * guide.shape[-1], 3)(jnp.concatenate([value, guide], axis=-1), train)
            a, b = jnp.split(both, 2, axis=-1)
            return a * guide + b
        return guided_filter(guide, value, self.radius, self.eps, with_b=self.local == "guided")
