"""The palette generator E: which colors a gray photograph has."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from palgan_jax.choices import Init, Tap
from palgan_jax.nn.dimensions import CHANNELS, TAPS
from palgan_jax.nn.layers import HE, XAVIER, Conv, Dense, leaky_relu_of_output, scaled
from palgan_jax.palette.histogram import as_distribution

Head = Literal["palette", "code", "none"]


class PaletteGenerator(nn.Module):
    """Six convolutions of stride 2 and a dense layer with a sigmoid (method: section 3).

    Call with l (B, H, W, C), H and W multiples of 64 (C = 1: the luminance); returns the head's output (B, size),
    float32, and [M1 (B, H/2, W/2, .), ..., M4 (B, H/16, W/16, .)]. With `taps_only`, H and W are multiples of 16 and
    need not be those of training, which the dense layer asks for; None is returned in the place of the head's output.

    `head`: "palette" (the sigmoid, divided by its sum unless `normalize` is off), "code" (the bare dense layer: the
    latent code of the rows AE and VAE) or "none" (None is returned in its place).
    `tap`: M_i are taken after or before the LeakyReLU.
    `kernel_init`: without a norm, Xavier's gain of 0.02 shrinks the signal by about 50 a layer and E does not start to
    learn, so "he" is the default.
    """

    size: int = 256
    width: float = 1.0
    head: Head = "palette"
    normalize: bool = True
    tap: Tap = "after"
    kernel_init: Init = "he"
    dtype: Any = None

    @nn.compact
    def __call__(
        self, l: jax.Array, train: bool = False, taps_only: bool = False
    ) -> tuple[jax.Array | None, list[jax.Array]]:
        kernel_init = HE if self.kernel_init == "he" else XAVIER
        x, taps = l, []
        for i, channels in enumerate(CHANNELS):
            if i == TAPS and (taps_only or self.head == "none"):  # nothing reads the rest
                return None, taps
            raw = Conv(
                scaled(channels, self.width), stride=2, kernel_init=kernel_init, dtype=self.dtype, name=f"conv_{i}"
            )(x)
            x = leaky_relu_of_output(raw)
            if i < TAPS:
                taps.append(x if self.tap == "after" else raw)
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)  # (B, 4096) at 256 x 256
        if self.head == "code":
            return Dense(self.size, name="head")(x), taps
        # Without the division by the sum the sigmoid itself has to start near 1 / size.
        bias = nn.initializers.zeros if self.normalize else nn.initializers.constant(-5.5)
        h = nn.sigmoid(Dense(self.size, bias_init=bias, name="head")(x))  # (B, size)
        return as_distribution(h) if self.normalize else h, taps
