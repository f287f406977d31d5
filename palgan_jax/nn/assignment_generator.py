"""The palette assignment generator G: paints the photograph with a palette."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from palgan_jax.choices import Attention, Guide, Init, Local, Norm
from palgan_jax.nn.attention import ChromaticAttention
from palgan_jax.nn.layers import HE, XAVIER, Conv, ResBlock, leaky_relu, scaled
from palgan_jax.nn.norms import PalNorm
from palgan_jax.nn.ops.columns import Picture
from palgan_jax.nn.ops.upsampling import resize, upsample
from palgan_jax.palette.regions import Regions


class PaletteAssignmentGenerator(nn.Module):
    """Computes ab from luminance, palette and the features of E (method: section 4).

    Call with l (B, H, W, 1), taps [M1, ..., M4] and h (B, K), or Regions with palettes of their own; returns normalized
    ab (B, H, W, 2) in [-1, 1], float32.
    `columns` packs the pictures of the last stage, and `tpus` lets the attention take the kernels of these chips
    (nn/build.py chooses both). What is computed is the same.
    """

    width: float = 1.0
    norm: Norm = "palette"
    attention: Attention = "full"
    local: Local = "guided"
    guide: Guide = "luminance"
    attention_residual: bool = False
    guided_radius: int = 4
    guided_eps: float = 1e-3
    palette_scale: float = 256.0
    spectral: bool = True
    first_weights: Init = "xavier"
    columns: int = 1
    tpus: Mesh | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, l: jax.Array, taps: list[jax.Array], h: jax.Array | Regions, train: bool = False) -> jax.Array:
        norm = PalNorm(self.norm, self.width, self.palette_scale, self.first_weights, self.dtype, parent=None)

        def blocks(x: Picture, channels: int, stage: int, columns: int = 1) -> Picture:
            for i in range(2):
                width, name = scaled(channels, self.width), f"block_{stage}{i}"
                x = ResBlock(width, norm, self.spectral, columns, self.first_weights, self.dtype, name=name)(
                    x, h, l, train
                )
            return x

        m1, m2, m3, m4 = taps
        x = jnp.concatenate([resize(l, *m4.shape[1:3]).astype(m4.dtype), m4], axis=-1)  # (B, 16, 16, 257)
        kernel_init = HE if self.first_weights == "he" else XAVIER
        stem = Conv(
            scaled(512, self.width), spectral=self.spectral, kernel_init=kernel_init, dtype=self.dtype, name="stem"
        )
        x = stem(x, train)
        x = blocks(leaky_relu(x), 512, 0)  # (B, 16, 16, 512)
        s = blocks(jnp.concatenate([upsample(x), m3], axis=-1), 256, 1)  # (B, 32, 32, 256)
        x = blocks(jnp.concatenate([upsample(s), m2], axis=-1), 128, 2)  # (B, 64, 64, 128)
        f = blocks(jnp.concatenate([upsample(x), m1], axis=-1), 64, 3, self.columns)  # (B, 128, 128, 64)
        x = ChromaticAttention(
            self.attention, self.local, self.guide, self.attention_residual, self.width, self.guided_radius,
            self.guided_eps, self.spectral, self.first_weights, self.tpus, self.dtype, name="attention",
        )(s, f, resize(l, *m1.shape[1:3]), train)  # fmt: skip
        # Checkpoints hold the name "colour".
        color = Conv(2, spectral=self.spectral, upsampled=True, dtype=self.dtype, name="colour")
        return jnp.tanh(color(x, train).astype(jnp.float32))  # (B, 256, 256, 2)
