"""The color discriminator D: whether these colors, with this palette, are a photograph's."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from palgan_jax.choices import DiscriminatorKind, Projected
from palgan_jax.nn.layers import Conv, Dense, leaky_relu, scaled


class ColorDiscriminator(nn.Module):
    """Projection discriminator on the palette (method: section 6), or a patch discriminator (the row "w PatchD").

    Call with normalized ab c (B, H, W, 2), RGB in [-1, 1] (B, H, W, 3) and the palette h (B, K). "projection" returns
    logits (B,), "patch" a map of logits (B, H / 8 - 2, W / 8 - 2) that does not look at the palette. float32.
    `palette`: what phi is projected on, h / |h| ("unit"), the square root of h ("sqrt"), whose length is 1 as well
    where h sums to 1, or h ("plain"), whose length of about 0.2 leaves other palettes little say (method: section 11).
    `columns`: the first layer of "projection" packs so many columns of its result (1, 2, 4, ...), and each further one
    half as many (nn/ops/columns.py). What is computed is the same.
    """

    width: float = 1.0
    kind: DiscriminatorKind = "projection"
    palette: Projected = "unit"
    spectral: bool = True
    columns: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, c: jax.Array, rgb: jax.Array, h: jax.Array, train: bool = False) -> jax.Array:
        x = jnp.concatenate([c, rgb], axis=-1)  # (B, 256, 256, 5)
        return self._patches(x, train) if self.kind == "patch" else self._project(x, h, train)

    def _project(self, x: jax.Array, h: jax.Array, train: bool) -> jax.Array:
        for i, channels in enumerate((32, 64, 128, 256, 256)):
            columns = max(1, self.columns >> i)
            conv = Conv(
                scaled(channels, self.width), stride=2, spectral=self.spectral, columns=columns, dtype=self.dtype,
                name=f"conv_{i}",
            )  # fmt: skip
            x = leaky_relu(conv(x, train))
        x = jnp.sum(x.astype(jnp.float32), axis=(1, 2))  # (B, 256)
        phi = Dense(h.shape[-1], spectral=self.spectral, name="phi")(x, train)  # (B, K)
        realism = Dense(1, spectral=self.spectral, name="logit")(phi, train)[:, 0]
        return realism + jnp.sum(phi * _projected(h, self.palette), axis=-1)  # (B,)

    def _patches(self, x: jax.Array, train: bool) -> jax.Array:
        # The 70 x 70 PatchGAN: 4 x 4 kernels, three of stride 2 and two of stride 1.
        for i, (channels, stride) in enumerate(((64, 2), (128, 2), (256, 2), (512, 1))):
            conv = Conv(
                scaled(channels, self.width), 4, stride, 1, spectral=self.spectral, dtype=self.dtype, name=f"conv_{i}"
            )
            x = leaky_relu(conv(x, train))
        logits = Conv(1, 4, 1, 1, spectral=self.spectral, dtype=self.dtype, name="logit")(x, train)
        return logits[..., 0].astype(jnp.float32)


def _projected(h: jax.Array, kind: Projected) -> jax.Array:
    """Scales palettes (B, K) for the projection; both roots have a gradient at 0."""
    if kind == "sqrt":
        return jnp.sqrt(h + 1e-12)
    return h * jax.lax.rsqrt(jnp.sum(h**2, axis=-1, keepdims=True) + 1e-12) if kind == "unit" else h
