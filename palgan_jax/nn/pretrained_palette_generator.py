"""E with a network that ImageNet trained in the place of the paper's convolutions (method: section 12)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.color import lightness_to_srgb
from palgan_jax.nn.dimensions import CHANNELS, FEATURES_EPSILON, LUMINANCE_BINS, TAPS
from palgan_jax.nn.efficientnet_lite0 import EfficientNetLite0
from palgan_jax.nn.layers import HE, Conv, Dense, scaled
from palgan_jax.nn.norms import moving_averages

MOMENTUM = 0.95
CELLS = "cells"
"""The collection in which the palettes of cells are sown while training."""


class PretrainedPaletteGenerator(nn.Module):
    """EfficientNet-Lite0 of the gray picture, 1 x 1 convolutions to G's maps, and dense layers to the palette.

    Call with l (B, R, R, 1), R a multiple of 64; returns the palette (B, size), float32, which sums to 1, and
    [M1, ..., M4], of R / (2 stride), ..., R / (16 stride) pixels a side: those of G for pictures of R / stride pixels.
    With `taps_only`, None is returned in the place of the palette.

    A palette is predicted for each cell of 32 x 32 pixels, from features there and from means over the picture of
    features of five levels with a histogram of the luminance; their mean is the picture's. While training, the palettes
    of the cells (B, R/32, R/32, size) are sown in the collection "cells", for a loss of their own.

    `frozen`: so many blocks of the encoder get no gradient. `dropout`: the share of features that the dense layers do
    not see while training, where `keys` (B,), a random key for each picture, are given.
    """

    size: int = 256
    width: float = 1.0
    stride: int = 1
    frozen: int = 0
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(
        self, l: jax.Array, train: bool = False, keys: jax.Array | None = None, taps_only: bool = False
    ) -> tuple[jax.Array | None, list[jax.Array]]:
        gray = lightness_to_srgb(100 * l + 50) * 2 - 1  # (B, R, R, 1)
        levels, top = EfficientNetLite0(self.dtype, name="encoder")(jnp.repeat(gray, 3, axis=-1), self.frozen)
        first = self.stride.bit_length() - 1
        maps = [
            Conv(scaled(channels, self.width), 1, kernel_init=HE, dtype=self.dtype, name=f"tap_{i}")(level)
            for i, (channels, level) in enumerate(zip(CHANNELS[:TAPS], levels[first : first + TAPS], strict=True))
        ]
        if taps_only:
            return None, maps

        levels, top = [x.astype(jnp.float32) for x in levels], top.astype(jnp.float32)
        means = [jnp.mean(x, axis=(1, 2)) for x in (top, *levels[1:])]
        picture = jnp.concatenate([*means, _luminance_histogram(l)], axis=-1)  # (B, 1792)
        cell = jnp.concatenate([top, levels[-1]], axis=-1)  # (B, R/32, R/32, 1600)

        def logits(x: jax.Array, name: str, number: int) -> jax.Array:
            x = Standardize(name=f"{name}_features")(x, train)
            if train and keys is not None:
                x = drop(x, keys, self.dropout, number)
            return Dense(self.size, kernel_init=nn.initializers.zeros, name=name)(x)

        of_picture = logits(picture, "picture", 0)[:, None, None]  # (B, 1, 1, size)
        cells = nn.softmax(of_picture + logits(cell, "cell", 1))  # (B, R/32, R/32, size)
        if train:
            self.sow(CELLS, "palettes", cells, init_fn=lambda: cells, reduce_fn=lambda _, new: new)
        return jnp.mean(cells, axis=(1, 2)), maps


def first_parameters(encoder: Any, mean_palette: np.ndarray) -> dict[str, Any]:
    """Returns the parameters to begin with: the encoder's own, and a bias that predicts the mean palette (K,)."""
    return {"encoder": encoder, "picture": {"bias": np.log(mean_palette + 1e-6)}}


class Standardize(nn.Module):
    """Subtracts the mean of each feature and divides by its deviation, of (B, ..., F), by moving averages alone.

    The averages are those of evaluation too: with few pictures in a batch, its own moments would be noise.
    """

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        mean, variance = moving_averages(self, x.shape[-1])
        if train and not self.is_initializing():
            axes = tuple(range(x.ndim - 1))
            for average, value in ((mean, jnp.mean(x, axes)), (variance, jnp.var(x, axes))):
                average.value = MOMENTUM * average.value + (1 - MOMENTUM) * jax.lax.stop_gradient(value)
        return (x - mean.value) * jax.lax.rsqrt(variance.value + FEATURES_EPSILON)


def drop(x: jax.Array, keys: jax.Array, rate: float, number: int) -> jax.Array:
    """Sets a share of the entries of x (B, ...) to zero and scales up the others; picture i draws from keys[i].

    `number` tells apart the layers that share the keys. Keys by picture keep the draw the same on any number of
    devices, and where a batch is worked through in parts.
    """

    def keep_mask(key: jax.Array) -> jax.Array:
        return jax.random.bernoulli(jax.random.fold_in(key, number), 1 - rate, x.shape[1:])

    return jnp.where(jax.vmap(keep_mask)(keys), x / (1 - rate), 0)


def _luminance_histogram(l: jax.Array) -> jax.Array:
    """Counts the shares (B, 16) of pixels of l (B, H, W, 1) around evenly spaced values of luminance."""
    centers = jnp.linspace(-0.5, 0.5, LUMINANCE_BINS)
    return jnp.mean(jnp.abs(l - centers) < 0.5 / (LUMINANCE_BINS - 1), axis=(1, 2), dtype=jnp.float32)
