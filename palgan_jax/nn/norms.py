"""PalNorm, which lets the palette set scale and shift of normalized features, and its alternatives."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from palgan_jax.choices import Init, Norm
from palgan_jax.nn.dimensions import NORM_EPSILON
from palgan_jax.nn.layers import LECUN, XAVIER, Conv, Dense, leaky_relu, scaled
from palgan_jax.nn.ops.columns import Picture
from palgan_jax.nn.ops.upsampling import resize
from palgan_jax.nn.regions import palettes_of, spread
from palgan_jax.palette.regions import Regions

MOMENTUM = 0.9


def moving_averages(module: nn.Module, channels: int) -> tuple[nn.Variable, nn.Variable]:
    """Returns a module's variables for mean and variance, each (C,). Raises ValueError where given ones are not."""
    averages = (
        module.variable("batch_stats", "mean", jnp.zeros, (channels,)),
        module.variable("batch_stats", "var", jnp.ones, (channels,)),
    )
    # Flax checks parameters alone, and others would be broadcast.
    if any(average.value.shape != (channels,) for average in averages):
        raise ValueError(f"the averages of {module.name} are not those of {channels} channels")
    return averages


class BatchNorm(nn.Module):
    """Batch norm of (B, H, W, C): Flax's own by values and variables, for packed pictures too (ops/columns.py).

    Mean and variance are those of the whole batch, on however many devices it lies.
    """

    affine: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Picture, train: bool) -> Picture:
        channels = x.shape[-1]
        mean, variance = moving_averages(self, channels)
        if train:
            moments = _moments(x, (0, 1, 2))
            if not self.is_initializing():
                for average, value in zip((mean, variance), moments, strict=True):
                    average.value = MOMENTUM * average.value + (1 - MOMENTUM) * value
        else:
            moments = mean.value, variance.value
        scale = self.param("scale", nn.initializers.ones, (channels,)) if self.affine else None
        n = _normalized(x, *moments, scale)
        if self.affine:
            n += self.param("bias", nn.initializers.zeros, (channels,))
        return n.astype(self.dtype or jnp.float32)


def _moments(x: Picture, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Computes mean and variance of each channel over some axes, float32."""
    x = x.astype(jnp.float32)
    mean, square = x.mean(axes), (x * x).mean(axes)
    return mean, jnp.maximum(0, square - mean**2)


def _normalized(x: Picture, mean: jax.Array, variance: jax.Array, scale: jax.Array | None = None) -> Picture:
    gain = jax.lax.rsqrt(variance + NORM_EPSILON)
    if scale is not None:
        gain *= scale
    return (x - mean) * gain


def _modulate(n: Picture, gamma: Any, beta: Any) -> Picture:
    """Computes n (1 + gamma) + beta; in bfloat16, 1 + gamma would lose a gamma below 2^-9."""
    return n + n * gamma + beta


class PalNorm(nn.Module):
    """Normalizes the features and lets the palette set their scale and shift (method: section 4).

    `kind` is "palette" (batch norm modulated by the palette, the paper's), "instance" (the same over instance norm),
    "batch" (batch norm with its own affine: the paper's row "w BN") or "spade" (batch norm modulated pixel by pixel by
    a map made of the luminance and of the palette spread over the picture: the row "w SPADE").

    Call with x (B, H, W, C), h (B, K) and the network's l (B, R, R, 1); returns (B, H, W, C). Where h is Regions, scale
    and shift of each pixel are those of its regions' palettes, mixed by their shares.
    """

    kind: Norm = "palette"
    width: float = 1.0
    palette_scale: float = 256.0
    first_weights: Init = "xavier"
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Picture, h: jax.Array | Regions, l: jax.Array, train: bool) -> Picture:
        _, height, width, channels = x.shape
        if self.kind == "instance":
            mean, variance = (m[:, None, None] for m in _moments(x, (1, 2)))  # (B, 1, 1, C)
            n = _normalized(x, mean, variance).astype(self.dtype or jnp.float32)
        else:
            # Named, since checkpoints hold the name.
            n = BatchNorm(self.kind == "batch", self.dtype, name="BatchNorm_0")(x, train)
        if self.kind == "batch":
            return n
        if self.kind == "spade":
            return self._spade(n, h, l)
        first, last = self._kernel_inits()
        hidden = Dense(scaled(256, self.width), kernel_init=first, dtype=self.dtype, name="hidden")
        z = leaky_relu(hidden(palettes_of(h) * self.palette_scale))  # (B, hidden), (B, N, hidden) for regions
        gamma, beta = (
            spread(Dense(channels, kernel_init=last, dtype=self.dtype, name=name)(z), h, height, width)
            for name in ("gamma", "beta")
        )  # (B, 1, 1, C), (B, H, W, C) for regions
        return _modulate(n, gamma, beta)

    def _kernel_inits(self) -> tuple[nn.initializers.Initializer, nn.initializers.Initializer]:
        """Returns the first weights of the layers that read the palette, and of those of gamma and beta."""
        return (LECUN, nn.initializers.normal(0.02)) if self.first_weights == "he" else (XAVIER, XAVIER)

    def _spade(self, n: Picture, h: jax.Array | Regions, l: jax.Array) -> Picture:
        # A convolution of planes that are constant is, borders apart, a dense layer: no 257-channel map is built.
        hidden, (_, height, width, channels) = scaled(128, self.width), n.shape
        # "seen" and "spread" are the names that checkpoints hold.
        first, last = self._kernel_inits()
        seen = Conv(hidden, kernel_init=first, dtype=self.dtype, name="seen")
        of_bins = Dense(hidden, kernel_init=first, dtype=self.dtype, name="spread")
        of_luminance = seen(resize(l, height, width))  # (B, H, W, hidden)
        of_palette = spread(of_bins(palettes_of(h) * self.palette_scale), h, height, width)
        z = leaky_relu(of_luminance + of_palette)
        gamma, beta = (Conv(channels, kernel_init=last, dtype=self.dtype, name=name)(z) for name in ("gamma", "beta"))
        return _modulate(n, gamma, beta)
