"""The layers of PalGAN as PyTorch modules: convolution, spectral norm, PalNorm and its rivals, residual block.

A second, independent implementation, for tests and for carrying weights across. Everything here is NCHW, as users of
PyTorch expect; `convert.py` permutes where the order of axes matters. Axis glossary: B batch, H W pixels, C channels,
K palette bins (256), N attention tokens. No module reads a random number after its construction.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BINS = 256


def scaled(channels: int, width: float) -> int:
    """The channel count at a width multiplier; never below four."""
    return max(4, round(channels * width))


leaky = nn.LeakyReLU(0.2)  # a module, so that a hook can watch its inputs


def up2(x: Tensor) -> Tensor:
    """Bilinear upsampling by two with half-pixel centers: (B, C, H, W) -> (B, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def shrink(x: Tensor, like: Tensor) -> Tensor:
    """Antialiased bilinear resize (a triangle as wide as the scale) of (B, C, H, W) to the grid of `like`."""
    size = (like.shape[2], like.shape[3])
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)


def unit(x: Tensor, eps: float = 1e-12) -> Tensor:
    return x * torch.rsqrt((x * x).sum() + eps)


class SpectralMixin(nn.Module):
    """Divides a weight by its largest singular value, estimated by one power iteration from the stored vector `u`.

    The weight is read as a matrix (out, in * kh * kw) (Miyato et al., 2018). Neither u nor v carries a gradient. In
    training u is stored; in evaluation the iteration runs as well, and its result is dropped.
    """

    weight: Tensor
    u: Tensor

    def make_spectral(self, spectral: bool) -> None:
        self.spectral = spectral
        if spectral:
            self.register_buffer("u", torch.randn(self.weight.shape[0]))

    def normalized_weight(self) -> Tensor:
        if not self.spectral:
            return self.weight
        matrix = self.weight.flatten(1)  # (out, in * kh * kw)
        with torch.no_grad():
            v = unit(self.u @ matrix)
            u = unit(matrix @ v)
        sigma = u @ matrix @ v
        if self.training:
            self.u.copy_(u)
        return self.weight / torch.where(sigma != 0, sigma, torch.ones_like(sigma))


class Conv(nn.Conv2d, SpectralMixin):
    """A square convolution, padded by half its kernel unless told; spectral normalization on demand."""

    def __init__(
        self,
        fin: int,
        fout: int,
        kernel: int = 3,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
        spectral: bool = False,
    ) -> None:
        super().__init__(fin, fout, kernel, stride, kernel // 2 if padding is None else padding, bias=bias)
        self.make_spectral(spectral)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.normalized_weight(), self.bias)


class Dense(nn.Linear, SpectralMixin):
    """A fully connected layer; spectral normalization on demand."""

    def __init__(self, fin: int, fout: int, spectral: bool = False) -> None:
        super().__init__(fin, fout)
        self.make_spectral(spectral)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalized_weight(), self.bias)


class BatchNorm(nn.Module):
    """Batch normalization; running = 0.9 running + 0.1 batch, with the biased variance (torch's own is unbiased)."""

    def __init__(self, channels: int, affine: bool = False, eps: float = 1e-5, keep: float = 0.9) -> None:
        super().__init__()
        self.eps, self.keep = eps, keep
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.scale = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.mean, self.var
        if self.training:
            mean = x.mean((0, 2, 3))
            var = x.var((0, 2, 3), unbiased=False)
            with torch.no_grad():
                self.mean.mul_(self.keep).add_(mean, alpha=1 - self.keep)
                self.var.mul_(self.keep).add_(var, alpha=1 - self.keep)
        n = (x - mean[:, None, None]) * torch.rsqrt(var[:, None, None] + self.eps)
        if self.scale is None or self.bias is None:
            return n
        return n * self.scale[:, None, None] + self.bias[:, None, None]


class PalNorm(nn.Module):
    """Normalization whose scale and offset come from the palette: `n (1 + gamma(z)) + beta(z)`, `z = act(FC(s h))`.

    `kind`: "palette" (n is a batch norm without affine), "instance" (n is an instance norm), "batch" (a batch norm
    with its own affine, no palette), or "spade": z, gamma and beta are maps, `z = act(conv3x3(l) + FC(s h))`, with l
    resized to x's grid, and gamma and beta are 3x3 convolutions of z.
    """

    def __init__(self, channels: int, width: float, kind: str = "palette", palette_scale: float = 256.0) -> None:
        super().__init__()
        self.kind, self.palette_scale = kind, palette_scale
        if kind != "instance":
            self.norm = BatchNorm(channels, affine=kind == "batch")
        if kind in ("palette", "instance"):
            hidden = scaled(256, width)
            self.hidden = Dense(BINS, hidden)
            self.gamma = Dense(hidden, channels)
            self.beta = Dense(hidden, channels)
        elif kind == "spade":
            hidden = scaled(128, width)
            self.seen = Conv(1, hidden)
            self.spread = Dense(BINS, hidden)
            self.gamma = Conv(hidden, channels)
            self.beta = Conv(hidden, channels)

    def forward(self, x: Tensor, h: Tensor, l: Tensor) -> Tensor:
        n = F.instance_norm(x, eps=1e-5) if self.kind == "instance" else self.norm(x)
        if self.kind == "batch":
            return n
        if self.kind == "spade":
            z = leaky(self.seen(shrink(l, x)) + self.spread(self.palette_scale * h)[:, :, None, None])
            return n * (1 + self.gamma(z)) + self.beta(z)
        z = leaky(self.hidden(self.palette_scale * h))  # (B, hidden)
        return n * (1 + self.gamma(z)[:, :, None, None]) + self.beta(z)[:, :, None, None]


class ResBlock(nn.Module):
    """Pre-activation residual block with palette normalization (SPADE's block, with PalNorm in its place)."""

    def __init__(
        self,
        fin: int,
        fout: int,
        width: float,
        norm: str = "palette",
        palette_scale: float = 256.0,
        spectral: bool = True,
    ) -> None:
        super().__init__()
        fmid = min(fin, fout)
        self.norm_0 = PalNorm(fin, width, norm, palette_scale)
        # A batch norm follows, which cancels a bias.
        self.conv_0 = Conv(fin, fmid, bias=False, spectral=spectral)
        self.norm_1 = PalNorm(fmid, width, norm, palette_scale)
        self.conv_1 = Conv(fmid, fout, spectral=spectral)
        self.learned = fin != fout
        if self.learned:
            self.norm_shortcut = PalNorm(fin, width, norm, palette_scale)
            self.conv_shortcut = Conv(fin, fout, kernel=1, bias=False, spectral=spectral)

    def forward(self, x: Tensor, h: Tensor, l: Tensor) -> Tensor:
        short = self.conv_shortcut(self.norm_shortcut(x, h, l)) if self.learned else x
        x = self.conv_0(leaky(self.norm_0(x, h, l)))
        x = self.conv_1(leaky(self.norm_1(x, h, l)))
        return short + x
