"""PalGAN in PyTorch: colorizes gray photographs through a palette (Wang et al., ECCV 2022).

`palgan export RUN model.pt` writes this file beside the weights, as model.py; it needs PyTorch alone.

    import torch
    from model import load

    network = load("model.pt")
    lightness = torch.full((1, 1, network.options.resolution, network.options.resolution), 50.0)  # L of Lab
    ab, palette = network.colorize(lightness)  # a and b of Lab (1, 2, R, R); the palette it predicted (1, K)
    ab, _ = network.colorize(lightness, palette.roll(1, dims=-1))  # with a palette of your own

`network(l, palette)` is what training calls, with gradients. Axis glossary: B batch, R the network's resolution,
H W pixels, C channels, K bins of a palette, N patches. Pictures are (B, C, H, W).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Options:
    """What the network is made of, by the names of palgan_jax's configs; the defaults are the paper's network."""

    resolution: int = 256
    bins: int = 256
    ab_range: float = 110.0
    width: float = 1.0
    encoder: str = "paper"
    paint_stride: int = 1
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


OPTIONS = Options()

CHANNELS = (32, 64, 128, 256, 256, 256)
"""Of the convolutions of the paper's palette generator at width 1; the first four give the maps M1 to M4."""
PATCH = 4
"""Pixels of a side of the patches that attention moves."""
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))  # fmt: skip
"""Of EfficientNet-Lite0: blocks, kernel, stride of the first block, expansion, channels."""
LEVELS = {0: 16, 2: 24, 4: 40, 10: 112, 15: 320}
"""Its last blocks at strides 2, 4, 8, 16 and 32, and their channels."""
LUMINANCE_BINS = 16


def scaled(channels: int, width: float) -> int:
    """Returns the channels at a width; never fewer than four."""
    return max(4, round(channels * width))


# ---- layers ----------------------------------------------------------------------------------------------------------

leaky = nn.LeakyReLU(0.2)


def up2(x: Tensor) -> Tensor:
    """Doubles height and width bilinearly, with half-pixel centers."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def shrink(x: Tensor, like: Tensor) -> Tensor:
    """Resizes (B, C, H, W) to the grid of `like`, bilinearly and antialiased."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False, antialias=True)


def unit(x: Tensor, eps: float = 1e-12) -> Tensor:
    """Divides a vector by its length."""
    return x * torch.rsqrt((x * x).sum() + eps)


class SpectralMixin(nn.Module):
    """Divides a weight by its largest singular value, by one power iteration from the stored vector `u`.

    The weight is read as a matrix (out, in * kh * kw) (Miyato et al., 2018). Neither u nor v carries a gradient. In
    training u is stored; in evaluation the iteration runs as well, and its result is dropped.
    """

    weight: Tensor
    u: Tensor

    def make_spectral(self, spectral: bool) -> None:
        """Adds the vector, where spectral norm is asked for."""
        self.spectral = spectral
        if spectral:
            self.register_buffer("u", torch.randn(self.weight.shape[0]))

    def normalized_weight(self) -> Tensor:
        """Returns the weight as it is at use."""
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
    """A square convolution, padded by half its kernel unless told; spectral norm on demand."""

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
        return F.conv2d(x, self.normalized_weight(), self.bias, self.stride, self.padding)


class BatchNorm(nn.Module):
    """Batch norm; running = 0.9 running + 0.1 batch, with the biased variance (PyTorch's own is unbiased)."""

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
    """Norm whose scale and shift come from the palette: `n (1 + gamma(z)) + beta(z)`, `z = leaky(FC(scale h))`.

    `kind`: "palette" (n is a batch norm without affine), "instance" (n is an instance norm), "batch" (a batch norm
    with its own affine, no palette), or "spade": z, gamma and beta are maps, `z = leaky(conv3x3(l) + FC(scale h))`,
    with l resized to x's grid, and gamma and beta are 3 x 3 convolutions of z.
    """

    def __init__(
        self, channels: int, width: float, kind: str = "palette", palette_scale: float = 256.0, bins: int = 256
    ) -> None:
        super().__init__()
        self.kind, self.palette_scale = kind, palette_scale
        if kind != "instance":
            self.norm = BatchNorm(channels, affine=kind == "batch")
        if kind in ("palette", "instance"):
            hidden = scaled(256, width)
            self.hidden = nn.Linear(bins, hidden)
            self.gamma = nn.Linear(hidden, channels)
            self.beta = nn.Linear(hidden, channels)
        elif kind == "spade":
            hidden = scaled(128, width)
            self.seen = Conv(1, hidden)
            self.spread = nn.Linear(bins, hidden)
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
    """The residual block of SPADE, with PalNorm as its norm."""

    def __init__(self, fin: int, fout: int, o: Options) -> None:
        super().__init__()
        fmid = min(fin, fout)
        norm = (o.width, o.norm, o.palette_scale, o.bins)
        self.norm_0 = PalNorm(fin, *norm)
        # A norm follows, which cancels a bias.
        self.conv_0 = Conv(fin, fmid, bias=False, spectral=o.spectral)
        self.norm_1 = PalNorm(fmid, *norm)
        self.conv_1 = Conv(fmid, fout, spectral=o.spectral)
        self.learned = fin != fout
        if self.learned:
            self.norm_shortcut = PalNorm(fin, *norm)
            self.conv_shortcut = Conv(fin, fout, kernel=1, bias=False, spectral=o.spectral)

    def forward(self, x: Tensor, h: Tensor, l: Tensor) -> Tensor:
        shortcut = self.conv_shortcut(self.norm_shortcut(x, h, l)) if self.learned else x
        x = self.conv_0(leaky(self.norm_0(x, h, l)))
        return shortcut + self.conv_1(leaky(self.norm_1(x, h, l)))


# ---- chromatic attention ---------------------------------------------------------------------------------------------


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Averages windows of 2 radius + 1 pixels a side around each pixel, cut at the borders."""
    return F.avg_pool2d(x, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)


def guided_filter(guide: Tensor, x: Tensor, radius: int = 4, eps: float = 1e-3, with_b: bool = True) -> Tensor:
    """Models `x` as a local linear function of `guide`, both (B, C, H, W) (He et al., Guided Image Filtering)."""
    mean_g, mean_x = box_mean(guide, radius), box_mean(x, radius)
    cov = box_mean(guide * x, radius) - mean_g * mean_x
    var = box_mean(guide * guide, radius) - mean_g * mean_g
    a = cov / (var + eps)
    out = box_mean(a, radius) * guide
    return out + box_mean(mean_x - a * mean_g, radius) if with_b else out


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Mixes the 4 x 4 patches of v (B, D, H, W) by the likeness of q and k (B, C, H/4, W/4): (B, D, H, W)."""
    grid = (v.shape[2], v.shape[3])
    scores = q.flatten(2).transpose(1, 2) @ k.flatten(2) / q.shape[1] ** 0.5  # (B, N, N)
    patches = F.unfold(v, PATCH, stride=PATCH).transpose(1, 2)  # (B, N, D * 16)
    mixed = torch.softmax(scores, dim=-1) @ patches
    return F.fold(mixed.transpose(1, 2), grid, PATCH, stride=PATCH)


class ChromaticAttention(nn.Module):
    """Mixes F between places where S is alike, and along the edges of the luminance.

    S (B, Cs, H/4, W/4), F (B, Cf, H, W) and l (B, 1, H, W) -> (B, Cf, H, W).
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
        """Models value (B, C, H, W) locally as a * guide + b."""
        options = self.options
        if options.local == "affine":
            a, b = self.affine(torch.cat([value, guide], 1)).chunk(2, 1)
            return a * guide + b
        # The option is the radius for pictures of 256 pixels, of which F has 128.
        radius = max(1, round(options.guided_radius * min(value.shape[2:]) / 128))
        return guided_filter(guide.expand_as(value), value, radius, options.guided_eps, options.local == "guided")


# ---- palette generators ----------------------------------------------------------------------------------------------


class PaletteGenerator(nn.Module):
    """E of the paper: l (B, 1, R, R) -> the palette (B, K), and the maps M1 (R/2), M2 (R/4), M3 (R/8), M4 (R/16)."""

    def __init__(self, options: Options = OPTIONS, fin: int = 1) -> None:
        super().__init__()
        self.normalize, self.tap = options.normalize_palette, options.tap
        channels = [fin, *(scaled(c, options.width) for c in CHANNELS)]
        for i in range(len(CHANNELS)):
            setattr(self, f"conv_{i}", Conv(channels[i], channels[i + 1], stride=2))
        self.head = nn.Linear(channels[-1] * (options.resolution // 64) ** 2, options.bins)

    def maps(self, l: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns what the fifth convolution takes, and [M1, ..., M4], of l (B, 1, H, W) of any size."""
        x, maps = l, []
        for i in range(4):
            features = getattr(self, f"conv_{i}")(x)
            x = leaky(features)
            maps.append(x if self.tap == "after" else features)
        return x, maps

    def code(self, x: Tensor) -> Tensor:
        """Returns the last layer's numbers (B, K) from the first result of `maps`."""
        return self.head(leaky(self.conv_5(leaky(self.conv_4(x)))).flatten(1))

    def forward(self, l: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, maps = self.maps(l)
        h = torch.sigmoid(self.code(x))
        return h / (h.sum(-1, keepdim=True) + 1e-6) if self.normalize else h, maps


class Block(nn.Module):
    """Expands, convolves each channel, projects (MBConv), with TensorFlow's "SAME" padding."""

    def __init__(self, fin: int, fout: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = expansion * fin
        self.expand = nn.Conv2d(fin, inner, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(inner, inner, kernel, stride, groups=inner)
        self.project = nn.Conv2d(inner, fout, 1)
        padding = (kernel - stride) // 2
        self.pads, self.adds = (padding, kernel - stride - padding) * 2, fin == fout and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(F.pad(y, self.pads))))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without its classifier, its batch norms folded: sRGB (B, 3, H, W) in [-1, 1] -> features."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2)
        fin, number = 32, 0
        for repeats, kernel, stride, expansion, fout in STAGES:
            for i in range(repeats):
                setattr(self, f"block_{number}", Block(fin, fout, kernel, stride if i == 0 else 1, expansion))
                fin, number = fout, number + 1
        self.head = nn.Conv2d(fin, 1280, 1)

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """Returns the features of the blocks of `LEVELS`."""
        x, levels = F.relu6(self.stem(F.pad(rgb, (0, 1, 0, 1)))), []
        for number in range(max(LEVELS) + 1):
            x = getattr(self, f"block_{number}")(x)
            if number in LEVELS:
                levels.append(x)
        return levels


class Standardize(nn.Module):
    """Subtracts the stored mean of each feature (B, F, ...) and divides by the stored deviation."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("var", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * torch.rsqrt(self.var + 1e-3)


class PretrainedPaletteGenerator(nn.Module):
    """E with EfficientNet-Lite0: a palette for each cell of 32 x 32 pixels, of which the picture's is the mean."""

    def __init__(self, options: Options = OPTIONS) -> None:
        super().__init__()
        self.encoder = EfficientNetLite0()
        self.first = options.paint_stride.bit_length() - 1
        levels = list(LEVELS.values())
        for i, fin in enumerate(levels[self.first : self.first + 4]):
            setattr(self, f"tap_{i}", nn.Conv2d(fin, scaled(CHANNELS[i], options.width), 1))
        of_cell, of_picture = 1280 + levels[-1], 1280 + sum(levels[1:]) + LUMINANCE_BINS
        self.cell_features, self.cell = Standardize(of_cell), nn.Linear(of_cell, options.bins)
        self.picture_features, self.picture = Standardize(of_picture), nn.Linear(of_picture, options.bins)

    def maps(self, l: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the encoder's features, and [M1, ..., M4], of l (B, 1, H, W) of any size."""
        levels = self.encoder((2 * srgb_of_gray(100 * l + 50) - 1).expand(-1, 3, -1, -1))
        taps = levels[self.first : self.first + 4]
        return levels, [getattr(self, f"tap_{i}")(level) for i, level in enumerate(taps)]

    def forward(self, l: Tensor) -> tuple[Tensor, list[Tensor]]:
        levels, maps = self.maps(l)
        top = F.relu6(self.encoder.head(levels[-1]))  # (B, 1280, R/32, R/32)
        means = [x.mean((2, 3)) for x in (top, *levels[1:])]
        of_picture = torch.cat([*means, luminance_histogram(l)], 1)  # (B, 1792)
        of_cells = torch.cat([top, levels[-1]], 1).flatten(2).transpose(1, 2)  # (B, cells, 1600)
        logits = self.cell(self.cell_features(of_cells)) + self.picture(self.picture_features(of_picture))[:, None]
        return logits.softmax(-1).mean(1), maps


def srgb_of_gray(lightness: Tensor) -> Tensor:
    """Converts L in [0, 100] to the sRGB value in [0, 1] of that gray."""
    f = (lightness + 16) / 116
    light = torch.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787)
    return torch.where(light > 0.0031308, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, 12.92 * light)


def luminance_histogram(l: Tensor) -> Tensor:
    """Counts the shares (B, 16) of pixels of l (B, 1, H, W) around evenly spaced values."""
    centers = torch.linspace(-0.5, 0.5, LUMINANCE_BINS, dtype=l.dtype, device=l.device)[:, None, None]
    return ((l - centers).abs() < 0.5 / (LUMINANCE_BINS - 1)).to(l.dtype).mean((2, 3))


# ---- the whole -------------------------------------------------------------------------------------------------------


class PaletteAssignmentGenerator(nn.Module):
    """G: l (B, 1, H, W), the maps of E and a palette (B, K) -> normalized ab (B, 2, H, W) in [-1, 1]."""

    def __init__(self, options: Options = OPTIONS) -> None:
        super().__init__()
        m1, m2, m3, m4 = (scaled(c, options.width) for c in CHANNELS[:4])
        c512, c256, c128, c64 = (scaled(c, options.width) for c in (512, 256, 128, 64))
        self.stem = Conv(1 + m4, c512, spectral=options.spectral)
        stages = ((c512, c512), (c512 + m3, c256), (c256 + m2, c128), (c128 + m1, c64))
        for stage, (fin, fout) in enumerate(stages):
            for i in range(2):
                setattr(self, f"block_{stage}{i}", ResBlock(fout if i else fin, fout, options))
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
    """E and G."""

    def __init__(self, options: Options = OPTIONS) -> None:
        super().__init__()
        self.options = options
        pretrained = options.encoder == "efficientnet_lite0"
        self.palette_generator = (PretrainedPaletteGenerator if pretrained else PaletteGenerator)(options)
        self.assignment_generator = PaletteAssignmentGenerator(options)

    def forward(self, l: Tensor, palette: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Paints l = (L - 50) / 100 (B, 1, R, R) with a palette (B, K), or the predicted one.

        Returns the predicted palette (B, K), and ab / ab_range (B, 2, R, R).
        """
        predicted, maps = self.palette_generator(l)
        return predicted, self.paint(l, maps, predicted if palette is None else palette)

    def paint(self, l: Tensor, maps: list[Tensor], palette: Tensor) -> Tensor:
        """Returns ab / ab_range (B, 2, H, W)."""
        stride = self.options.paint_stride
        if stride == 1:
            return self.assignment_generator(l, maps, palette)
        return up2(self.assignment_generator(F.avg_pool2d(l, stride), maps, palette))

    @torch.no_grad()
    def colorize(self, lightness: Tensor, palette: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Colorizes L in [0, 100] (B, 1, R, R); with a palette (B, K), of any sides that are multiples of 64.

        Returns a and b of Lab (B, 2, R, R), and the palette that was used (B, K).
        """
        l = (lightness - 50) / 100
        if palette is None:
            palette, maps = self.palette_generator(l)
        else:
            _, maps = self.palette_generator.maps(l)
        return self.options.ab_range * self.paint(l, maps, palette), palette


def load(path: str, device: str = "cpu") -> PalGAN:
    """Returns the network with the weights of a file, ready to colorize."""
    network = PalGAN()
    network.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    return network.to(device).eval()
