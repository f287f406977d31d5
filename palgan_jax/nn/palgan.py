"""E and G together: the part of PalGAN that colorizes."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from palgan_jax.choices import Attention, Encoder, Guide, Init, Local, Model, Norm, Tap
from palgan_jax.nn.assignment_generator import PaletteAssignmentGenerator
from palgan_jax.nn.ops.upsampling import upsample
from palgan_jax.nn.palette_generator import Head, PaletteGenerator
from palgan_jax.nn.pretrained_palette_generator import PretrainedPaletteGenerator
from palgan_jax.palette.regions import Regions


def reduced(x: jax.Array, stride: int) -> jax.Array:
    """Averages pictures (B, H, W, C) over squares of `stride` pixels a side: (B, H / stride, W / stride, C)."""
    return x if stride == 1 else nn.avg_pool(x, (stride, stride), (stride, stride))


class PalGAN(nn.Module):
    """Palette generator and palette assignment generator (method: sections 3 to 5).

    `model`: "palgan"; "autoencoder", where a free code of the luminance takes the palette's place (row AE); or "vae",
    where it is a code drawn from the standard normal, which a posterior network infers from the truth while training
    (row VAE).
    `encoder`: "paper" (the paper's E) or "efficientnet_lite0" (pretrained on ImageNet, beyond the paper, for "palgan").
    `paint_stride`: G paints pictures of R / paint_stride pixels a side, which are upsampled to R but while training; 1,
    or 2 with a pretrained encoder. The other fields are those of the parts.
    """

    model: Model = "palgan"
    palette_size: int = 256
    width: float = 1.0
    norm: Norm = "palette"
    attention: Attention = "full"
    local: Local = "guided"
    guide: Guide = "luminance"
    attention_residual: bool = False
    guided_radius: int = 4
    guided_eps: float = 1e-3
    palette_scale: float = 256.0
    normalize_palette: bool = True
    tap: Tap = "after"
    palette_init: Init = "he"
    paint_init: Init = "xavier"
    spectral: bool = True
    encoder: Encoder = "paper"
    paint_stride: int = 1
    frozen_blocks: int = 0
    palette_dropout: float = 0.0
    columns: int = 1
    tpus: Mesh | None = None
    dtype: Any = None

    def setup(self):
        heads: dict[Model, Head] = {"palgan": "palette", "autoencoder": "code", "vae": "none"}
        if self.encoder == "efficientnet_lite0":
            self.palette_generator = PretrainedPaletteGenerator(
                self.palette_size,
                self.width,
                self.paint_stride,
                self.frozen_blocks,
                self.palette_dropout,
                self.dtype,
            )
        else:
            self.palette_generator = PaletteGenerator(
                self.palette_size,
                self.width,
                heads[self.model],
                self.normalize_palette,
                self.tap,
                self.palette_init,
                self.dtype,
            )
        self.assignment_generator = PaletteAssignmentGenerator(
            self.width,
            self.norm,
            self.attention,
            self.local,
            self.guide,
            self.attention_residual,
            self.guided_radius,
            self.guided_eps,
            self.palette_scale if self.model == "palgan" else 1.0,
            self.spectral,
            self.paint_init,
            self.columns,
            self.tpus,
            self.dtype,
        )
        if self.model == "vae":
            self.posterior_network = PaletteGenerator(
                2 * self.palette_size, self.width, "code", kernel_init=self.palette_init, dtype=self.dtype
            )

    def __call__(
        self,
        l: jax.Array,
        palette: jax.Array | None = None,
        train: bool = False,
        use_predicted: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Colorizes l (B, H, W, 1) with the palette (B, K), or with the predicted one where it is None.

        `use_predicted` (B,), bool, marks pictures that take the predicted palette, without a gradient into it, although
        a palette is given (method: section 7, conditioning). `keys` (B,): random keys for the dropout of a pretrained
        encoder's features while training.
        Returns the predicted palette (B, K) (the code, where the model is not "palgan") and normalized ab (B, H, W, 2);
        while training, ab is (B, H / paint_stride, W / paint_stride, 2).
        """
        generator: Any = self.palette_generator
        predicted, taps = generator(l, train) if self.encoder == "paper" else generator(l, train, keys)
        if predicted is None:  # "vae": the mean of the prior
            predicted = jnp.zeros((l.shape[0], self.palette_size), jnp.float32)
        h: Any = predicted if palette is None else palette
        if palette is not None and use_predicted is not None:
            h = jnp.where(use_predicted[:, None], jax.lax.stop_gradient(predicted), palette)
        return predicted, self._paint(l, taps, h, train)

    def paint(self, l: jax.Array, h: jax.Array | Regions) -> jax.Array:
        """Paints l (B, H, W, 1) with the palettes h (B, K) or those of regions: normalized ab (B, H, W, 2).

        H and W are multiples of 64 and need not be those of training: no palette is predicted, and all else is
        convolutions, whose windows then cover a smaller part of the picture, and attention.
        """
        generator: Any = self.palette_generator
        _, taps = generator(l, taps_only=True)
        return self._paint(l, taps, h, train=False)

    @nn.nowrap
    def _paint(self, l: jax.Array, taps: list[jax.Array], h: jax.Array | Regions, train: bool) -> jax.Array:
        c = self.assignment_generator(reduced(l, self.paint_stride), taps, h, train)
        return c if train or self.paint_stride == 1 else upsample(c)

    def posterior(self, l: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Infers mean and log variance (B, K) of the code of a colored picture, l (B, H, W, 1) and c (B, H, W, 2)."""
        code, _ = self.posterior_network(jnp.concatenate([l, c], axis=-1))
        assert code is not None
        return code[:, : self.palette_size], code[:, self.palette_size :]

    def everything(self, l: jax.Array, c: jax.Array) -> None:
        """Runs every part once, so that `init` makes the parameters of all of them."""
        self(l)
        if self.model == "vae":
            self.posterior(l, c)
