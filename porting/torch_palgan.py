"""PalGAN's networks as PyTorch modules: a second, independent implementation, for tests and for carrying weights.

NCHW; see `torch_layers.py`. Source: PalGAN (Wang et al., ECCV 2022), supplement and poster. Modules bear the names that
the Flax ones have, so that `convert.py` can be short.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from porting.torch_layers import BINS, Conv, Dense, ResBlock, leaky, scaled, shrink, up2

PATCH = 4


@dataclass(frozen=True)
class Options:
    """The choices of the generator, named as in the Flax code; the defaults are the paper's network."""

    model: str = "palgan"
    width: float = 1.0
    norm: str = "palette"
    attention: str = "full"
    attention_residual: bool = False
    local: str = "guided"
    guide: str = "luminance"
    guided_radius: int = 4
    guided_eps: float = 1e-3
    palette_scale: float = 256.0
    normalize_palette: bool = True
    tap: str = "after"
    spectral: bool = True


# ---- chromatic attention ---------------------------------------------------------------------------------------------


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Mean over the window of 2 radius + 1 pixels a side, cut at the borders: (B, C, H, W) -> same."""
    return F.avg_pool2d(x, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)


def guided_filter(guide: Tensor, x: Tensor, radius: int = 4, eps: float = 1e-3, with_b: bool = True) -> Tensor:
    """`x` as a local linear model of `guide` (He et al., Guided Image Filtering): two (B, C, H, W) -> (B, C, H, W)."""
    mean_g, mean_x = box_mean(guide, radius), box_mean(x, radius)
    cov = box_mean(guide * x, radius) - mean_g * mean_x
    var = box_mean(guide * guide, radius) - mean_g * mean_g
    a = cov / (var + eps)
    b = mean_x - a * mean_g
    out = box_mean(a, radius) * guide
    return out + box_mean(b, radius) if with_b else out


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of grid positions, by whose weights the 4x4 patches of v are mixed.

    q, k (B, C, H/4, W/4), v (B, D, H, W) -> (B, D, H, W).
    """
    grid = (v.shape[2], v.shape[3])
    scores = q.flatten(2).transpose(1, 2) @ k.flatten(2) / q.shape[1] ** 0.5  # (B, N, N)
    patches = F.unfold(v, PATCH, stride=PATCH).transpose(1, 2)  # (B, N, D * 16)
    mixed = torch.softmax(scores, dim=-1) @ patches
    return F.fold(mixed.transpose(1, 2), grid, PATCH, stride=PATCH)


class ChromaticAttention(nn.Module):
    """Global interaction (attention between the patches of F) and local delineation (guided filter), fused.

    S (B, C_s, H/4, W/4), F (B, C_f, H, W) and the luminance l (B, 1, H, W) -> (B, C_f, H, W). Paper: the wiring on the
    poster; the sizes are inferred.
    """

    def __init__(self, channels_s: int, channels_f: int, options: Options) -> None:
        super().__init__()
        self.options = options
        kind, inner, spectral = options.attention, scaled(64, options.width), options.spectral
        if kind == "none":
            return
        self.value = Conv(channels_f, inner, kernel=1, spectral=spectral)
        if kind != "local":
            source = channels_f if kind == "self" else channels_s
            self.query = Conv(source, inner, kernel=1, spectral=spectral)
            self.key = Conv(source, inner, kernel=1, bias=False, spectral=spectral)
        if kind in ("full", "local"):
            convolved = options.guide == "convolution"
            if convolved:
                self.guide = Conv(1, inner, kernel=1, bias=options.local == "affine", spectral=spectral)
            if options.local == "affine":
                self.affine = Conv(inner + (inner if convolved else 1), 2 * inner, spectral=spectral)
        self.fusion = Conv(2 * inner if kind == "full" else inner, channels_f, kernel=1, spectral=spectral)
        if kind == "self":
            self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, s: Tensor, f: Tensor, l: Tensor) -> Tensor:
        kind = self.options.attention
        if kind == "none":
            return f
        value = self.value(f)
        if kind == "self":
            s = F.avg_pool2d(f, PATCH)
            return f + self.gain * self.fusion(attend(self.query(s), self.key(s), value))
        branches = []
        if kind != "local":
            branches.append(attend(self.query(s), self.key(s), value))
        if kind != "global":
            branches.append(self.delineate(self.guide(l) if self.options.guide == "convolution" else l, value))
        fused = self.fusion(torch.cat(branches, 1))
        return f + fused if self.options.attention_residual else fused

    def delineate(self, guide: Tensor, value: Tensor) -> Tensor:
        options = self.options
        if options.local == "affine":
            a, b = self.affine(torch.cat([value, guide], 1)).chunk(2, 1)
            return a * guide + b
        with_b = options.local == "guided"
        # The option is the radius for pictures of 256 pixels, of which F has 128.
        radius = max(1, round(options.guided_radius * min(value.shape[2:]) / 128))
        return guided_filter(guide.expand_as(value), value, radius, options.guided_eps, with_b)


# ---- generators ------------------------------------------------------------------------------------------------------


class PaletteGenerator(nn.Module):
    """E: l (B, 1, R, R) -> the palette (B, K) and the feature maps M1 (R/2), M2 (R/4), M3 (R/8), M4 (R/16).

    `head`: "palette", "code" (no sigmoid) or "none" (no palette). `fin`: channels of the input; `bins`: outputs.
    """

    def __init__(
        self,
        width: float = 1.0,
        resolution: int = 256,
        *,
        bins: int = BINS,
        fin: int = 1,
        head: str = "palette",
        normalize: bool = True,
        tap: str = "after",
    ) -> None:
        super().__init__()
        self.kind, self.normalize, self.tap = head, normalize, tap
        channels = [fin, *(scaled(c, width) for c in (32, 64, 128, 256, 256, 256))]
        self.depth = 4 if head == "none" else 6  # without a head nothing looks beyond M4
        for i in range(self.depth):
            setattr(self, f"conv_{i}", Conv(channels[i], channels[i + 1], stride=2))
        if head != "none":
            self.head = Dense(channels[-1] * (resolution // 64) ** 2, bins)

    def forward(self, l: Tensor) -> tuple[Tensor | None, list[Tensor]]:
        maps, x = [], l
        for i in range(self.depth):
            before = getattr(self, f"conv_{i}")(x)
            x = leaky(before)
            maps.append(x if self.tap == "after" else before)
        maps = maps[:4]
        if self.kind == "none":
            return None, maps
        code = self.head(x.flatten(1))  # (B, K)
        if self.kind == "code":
            return code, maps
        h = torch.sigmoid(code)
        return h / h.sum(-1, keepdim=True) if self.normalize else h, maps


class PaletteAssignmentGenerator(nn.Module):
    """G: luminance, E's maps and a palette -> normalized ab (B, 2, R, R) in [-1, 1]."""

    def __init__(self, options: Options = Options()) -> None:
        super().__init__()
        m1, m2, m3, m4, c512, c256, c128, c64 = (
            scaled(c, options.width) for c in (32, 64, 128, 256, 512, 256, 128, 64)
        )
        self.stem = Conv(1 + m4, c512, spectral=options.spectral)
        stages = ((c512, c512), (c512 + m3, c256), (c256 + m2, c128), (c128 + m1, c64))
        for stage, (fin, fout) in enumerate(stages):
            for i in range(2):
                block = ResBlock(
                    fout if i else fin, fout, options.width, options.norm, options.palette_scale, options.spectral
                )
                setattr(self, f"block_{stage}{i}", block)
        self.attention = ChromaticAttention(c256, c64, options)
        self.colour = Conv(c64, 2, spectral=options.spectral)

    def stage(self, number: int, x: Tensor, h: Tensor, l: Tensor) -> Tensor:
        return getattr(self, f"block_{number}1")(getattr(self, f"block_{number}0")(x, h, l), h, l)

    def forward(self, l: Tensor, maps: list[Tensor], h: Tensor) -> Tensor:
        m1, m2, m3, m4 = maps
        x = leaky(self.stem(torch.cat([shrink(l, m4), m4], 1)))
        x = self.stage(0, x, h, l)
        s = self.stage(1, torch.cat([up2(x), m3], 1), h, l)
        x = self.stage(2, torch.cat([up2(s), m2], 1), h, l)
        f = self.stage(3, torch.cat([up2(x), m1], 1), h, l)
        x = self.attention(s, f, shrink(l, f))
        return torch.tanh(self.colour(up2(x)))


class PalGAN(nn.Module):
    """E and G: l (B, 1, R, R), optionally a palette (B, K) that replaces the predicted one -> (palette, ab).

    With `model` "autoencoder" a free code stands in the palette's place, with "vae" a code drawn from a normal.
    """

    def __init__(self, options: Options = Options(), resolution: int = 256) -> None:
        super().__init__()
        head = {"palgan": "palette", "autoencoder": "code", "vae": "none"}[options.model]
        self.palette_generator = PaletteGenerator(
            options.width, resolution, head=head, normalize=options.normalize_palette, tap=options.tap
        )
        if options.model != "palgan":
            options = replace(options, palette_scale=1.0)
        self.assignment_generator = PaletteAssignmentGenerator(options)
        if options.model == "vae":
            self.posterior_network = PaletteGenerator(options.width, resolution, bins=2 * BINS, fin=3, head="code")

    def forward(self, l: Tensor, palette: Tensor | None = None) -> tuple[Tensor, Tensor]:
        predicted, maps = self.palette_generator(l)
        if predicted is None:  # the mean of the prior
            predicted = l.new_zeros(l.shape[0], BINS)
        return predicted, self.assignment_generator(l, maps, predicted if palette is None else palette)

    def posterior(self, l: Tensor, ab: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, K) of the code of a colored picture."""
        code, _ = self.posterior_network(torch.cat([l, ab], 1))
        return code.chunk(2, -1)


# ---- discriminator ---------------------------------------------------------------------------------------------------


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
