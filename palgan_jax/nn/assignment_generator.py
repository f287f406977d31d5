"""The palette assignment generator G: paints the photograph with a palette."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from palgan_jax.nn.attention import Attention, ChromaticAttention, Local
from palgan_jax.nn.layers import Conv, Norm, PalNorm, ResBlock, leaky_relu, resize, scaled, upsample


class PaletteAssignmentGenerator(nn.Module):
    """From luminance, palette and the features of E to ab (method: section 4).

    Call with l (B, H, W, 1), taps [M1, ..., M4] and h (B, K); returns normalised ab (B, H, W, 2) in [-1, 1], float32.
    """

    width: float = 1.0
    norm: Norm = "palette"
    attention: Attention = "full"
    local: Local = "guided"
    guided_radius: int = 4
    guided_eps: float = 1e-3
    palette_scale: float = 256.0
    spectral: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, l: jax.Array, taps: list[jax.Array], h: jax.Array, train: bool = False) -> jax.Array:
        norm = PalNorm(self.norm, self.width, self.palette_scale, dtype=self.dtype, parent=None)

        def blocks(x: jax.Array, channels: int, stage: int) -> jax.Array:
            for i in range(2):
                block = ResBlock(
                    scaled(channels, self.width), norm, self.spectral, self.dtype, name=f"block_{stage}{i}"
                )
                x = block(x, h, l, train)
            return x

        m1, m2, m3, m4 = taps
        x = jnp.concatenate([resize(l, *m4.shape[1:3]).astype(m4.dtype), m4], axis=-1)  # (B, 16, 16, 257)
        x = Conv(scaled(512, self.width), spectral=self.spectral, dtype=self.dtype, name="stem")(x, train)
        x = blocks(leaky_relu(x), 512, 0)  # (B, 16, 16, 512)
        s = blocks(jnp.concatenate([upsample(x), m3], axis=-1), 256, 1)  # (B, 32, 32, 256)
        x = blocks(jnp.concatenate([upsample(s), m2], axis=-1), 128, 2)  # (B, 64, 64, 128)
        f = blocks(jnp.concatenate([upsample(x), m1], axis=-1), 64, 3)  # (B, 128, 128, 64)
        attention = ChromaticAttention(
            self.attention,
            self.local,
            self.width,
            self.guided_radius,
            self.guided_eps,
            self.spectral,
            self.dtype,
            name="attention",
        )
        x = attention(s, f, resize(l, *f.shape[1:3]), train)
        x = Conv(2, spectral=self.spectral, doubled=True, dtype=self.dtype, name="colour")(x, train)
        return jnp.tanh(x.astype(jnp.float32))  # (B, 256, 256, 2)
