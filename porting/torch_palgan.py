"""PalGAN's networks as PyTorch modules: a second, independent implementation that the Flax ones are compared with.

E and G are those that `palgan export RUN model.pt` writes; here are the discriminator and the models without palettes.
Source: PalGAN (Wang et al., ECCV 2022), supplement and poster. Modules bear the names that the Flax ones have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palgan_jax.export import pytorch_network
from palgan_jax.export.pytorch_network import Conv, PaletteGenerator, SpectralMixin, leaky, scaled

BINS = 256


@dataclass(frozen=True)
class Options(pytorch_network.Options):
    """The choices of the generator; the defaults are the paper's network."""

    model: str = "palgan"


class CodeGenerator(PaletteGenerator):
    """E with a free code (B, K) in the palette's place, of pictures of `fin` channels."""

    def forward(self, l: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, maps = self.maps(l)
        return self.code(x), maps


class MapsGenerator(PaletteGenerator):
    """E without its last layers: the maps alone, and a code of zeros, the mean of the prior."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        del self.conv_4, self.conv_5, self.head

    def forward(self, l: Tensor) -> tuple[Tensor, list[Tensor]]:
        return l.new_zeros(l.shape[0], BINS), self.maps(l)[1]


class PalGAN(pytorch_network.PalGAN):
    """E and G: l (B, 1, R, R), optionally a palette (B, K) that replaces the predicted one -> (palette, ab).

    With `model` "autoencoder" a free code stands in the palette's place, with "vae" a code drawn from a normal.
    """

    def __init__(self, options: Options = Options(), resolution: int = 256) -> None:
        options = replace(options, resolution=resolution)
        super().__init__(options if options.model == "palgan" else replace(options, palette_scale=1.0))
        if options.model == "autoencoder":
            self.palette_generator = CodeGenerator(options)
        elif options.model == "vae":
            self.palette_generator = MapsGenerator(options)
            self.posterior_network = CodeGenerator(replace(options, bins=2 * BINS), fin=3)

    def posterior(self, l: Tensor, ab: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, K) of the code of a colored picture."""
        code, _ = self.posterior_network(torch.cat([l, ab], 1))
        return code.chunk(2, -1)


class Dense(nn.Linear, SpectralMixin):
    """A fully connected layer; spectral norm on demand."""

    def __init__(self, fin: int, fout: int, spectral: bool = False) -> None:
        super().__init__(fin, fout)
        self.make_spectral(spectral)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalized_weight(), self.bias)


class ColorDiscriminator(nn.Module):
    """D: normalized ab (B, 2, R, R), RGB in [-1, 1] (B, 3, R, R) and the palette (B, K) -> logits.

    "projection": `logit = w . phi + b + <phi, h>` (B,), the projection discriminator (Miyato and Koyama) with the
    palette as the class. "patch": (B, R/8 - 2, R/8 - 2), the 70x70 PatchGAN (Isola et al.), which sees no palette.
    `palette`: h is projected on at length 1 ("unit"), as its root ("sqrt"), or as it is ("plain").
    """

    def __init__(
        self, width: float = 1.0, kind: str = "projection", palette: str = "unit", spectral: bool = True
    ) -> None:
        super().__init__()
        self.kind, self.palette = kind, palette
        if kind == "patch":
            plan = [(64, 4, 2), (128, 4, 2), (256, 4, 2), (512, 4, 1)]
        else:
            plan = [(c, 3, 2) for c in (32, 64, 128, 256, 256)]
        self.depth, fin = len(plan), 5
        for i, (channels, kernel, stride) in enumerate(plan):
            conv = Conv(fin, scaled(channels, width), kernel, stride, padding=1, spectral=spectral)
            setattr(self, f"conv_{i}", conv)
            fin = conv.out_channels
        if kind == "patch":
            self.logit = Conv(fin, 1, 4, 1, padding=1, spectral=spectral)
        else:
            self.phi = Dense(fin, BINS, spectral=spectral)
            self.logit = Dense(BINS, 1, spectral=spectral)

    def forward(self, ab: Tensor, rgb: Tensor, h: Tensor) -> Tensor:
        x = torch.cat([ab, rgb], 1)
        for i in range(self.depth):
            x = leaky(getattr(self, f"conv_{i}")(x))
        if self.kind == "patch":
            return self.logit(x)[:, 0]
        phi = self.phi(x.sum((2, 3)))  # (B, K)
        if self.palette == "unit":
            h = F.normalize(h, dim=-1)
        elif self.palette == "sqrt":
            h = h.sqrt()
        return self.logit(phi)[:, 0] + (phi * h).sum(-1)
