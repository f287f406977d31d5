"""PalNorm, which lets the palette set scale and shift of normalized features, and its rivals."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from palgan_jax.nn.layers import Conv, Dense, leaky_relu, scaled
from palgan_jax.nn.ops.columns import fold, spread
from palgan_jax.nn.ops.upsampling import resize

Norm = Literal["palette", "instance", "batch", "spade"]

EPSILON = 1e-5
MOMENTUM = 0.9


class BatchNorm(nn.Module):
    """Batch norm of (B, H, W, C), which may be in strips; Flax's own, but for these, by values and variables.

    Mean and variance are those of the whole batch, on however many devices it lies.
    """

    affine: bool = False
    strips: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        channels = x.shape[-1] // self.strips
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        variance = self.variable("batch_stats", "var", jnp.ones, (channels,))
        if train:
            moments = _moments(x, (0, 1, 2), self.strips)
            if not self.is_initializing():
                for average, value in zip((mean, variance), moments, strict=True):
                    average.value = MOMENTUM * average.value + (1 - MOMENTUM) * value
        else:
            moments = mean.value, variance.value
        scale = self.param("scale", nn.initializers.ones, (channels,)) if self.affine else None
        n = _normalized(x, *moments, self.strips, scale)
        if self.affine:
            n += spread(self.param("bias", nn.initializers.zeros, (channels,)), self.strips)
        return n.astype(self.dtype or jnp.float32)


def _moments(x: jax.Array, axes: tuple[int, ...], strips: int) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of each channel over some axes, float32."""
    x = x.astype(jnp.float32)
    mean, square = (fold(jnp.mean(y, axes), strips) for y in (x, x * x))
    return mean, jnp.maximum(0, square - mean**2)


def _normalized(x: jax.Array, mean: jax.Array, variance: jax.Array, strips: int, scale: Any = None) -> jax.Array:
    gain = jax.lax.rsqrt(variance + EPSILON)
    if scale is not None:
        gain *= scale
    return (x - spread(mean, strips)) * spread(gain, strips)


class PalNorm(nn.Module):
    """Normalizes the features and lets the palette set their scale and shift (method: section 4).

    `kind` is "palette" (batch norm modulated by the palette, the paper's), "instance" (the same over instance norm),
    "batch" (batch norm with its own affine: the paper's row "w BN") or "spade" (batch norm modulated pixel by pixel by
    a map made of the luminance and of the palette spread over the picture: the row "w SPADE").

    Call with x (B, H, W, C), h (B, K) and the network's l (B, R, R, 1); returns (B, H, W, C). With `strips`, x and the
    result are strips of so many columns (nn/ops/columns.py).
    """

    kind: Norm = "palette"
    width: float = 1.0
    palette_scale: float = 256.0
    strips: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, h: jax.Array, l: jax.Array, train: bool) -> jax.Array:
        channels = x.shape[-1] // self.strips
        if self.kind == "instance":
            mean, variance = (m[:, None, None] for m in _moments(x, (1, 2), self.strips))  # (B, 1, 1, C)
            n = _normalized(x, mean, variance, self.strips).astype(self.dtype or jnp.float32)
        else:
            n = BatchNorm(self.kind == "batch", self.strips, self.dtype)(x, train)
        if self.kind == "batch":
            return n
        if self.kind == "spade":
            return self._spade(n, h, l)
        z = leaky_relu(Dense(scaled(256, self.width), dtype=self.dtype, name="hidden")(h * self.palette_scale))
        gamma, beta = (
            spread(Dense(channels, dtype=self.dtype, name=name)(z)[:, None, None], self.strips)  # (B, 1, 1, C)
            for name in ("gamma", "beta")
        )
        return n * (1 + gamma) + beta

    def _spade(self, n: jax.Array, h: jax.Array, l: jax.Array) -> jax.Array:
        # A convolution of planes that are constant is, borders apart, a dense layer: no 257-channel map is built.
        hidden, strips = scaled(128, self.width), self.strips
        seen = Conv(hidden, dtype=self.dtype, name="seen")(resize(l, n.shape[1], n.shape[2] * strips))
        spread_palette = Dense(hidden, dtype=self.dtype, name="spread")(h * self.palette_scale)[:, None, None]
        z = leaky_relu(seen + spread_palette)
        gamma, beta = (
            Conv(n.shape[-1] // strips, strips=(1, strips), dtype=self.dtype, name=name)(z)
            for name in ("gamma", "beta")
        )
        return n * (1 + gamma) + beta
