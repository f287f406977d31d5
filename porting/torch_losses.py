"""Color, palettes and losses of PalGAN in PyTorch: the second implementation that the JAX one is compared with.

Pictures are NHWC here, as in the JAX code: nothing in this file convolves. Functions keep their input's precision.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# ---- color ----------------------------------------------------------------------------------------------------------

WHITE_D65 = (0.95047, 1.0, 1.08883)
XYZ_FROM_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB (..., 3) in [0, 1] to Lab (..., 3), the numbers of scikit-image."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    t = linear @ rgb.new_tensor(XYZ_FROM_RGB).T / rgb.new_tensor(WHITE_D65)
    x, y, z = torch.where(t > 0.008856, t ** (1 / 3), 7.787 * t + 16 / 116).unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Lab (..., 3) to sRGB (..., 3), the numbers of scikit-image but without its clamp to [0, 1]."""
    return curve(lab_to_linear(lab))


def lab_to_linear(lab: Tensor) -> Tensor:
    """Lab (..., 3) to linear RGB (..., 3)."""
    l, a, b = lab.unbind(-1)
    y = (l + 16) / 116
    f = torch.stack([y + a / 500, y, torch.clamp(y - b / 200, min=0)], -1)
    xyz = torch.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787) * lab.new_tensor(WHITE_D65)
    inverse = torch.linalg.inv(torch.tensor(XYZ_FROM_RGB, dtype=torch.float64)).to(lab)
    return xyz @ inverse.T


def curve(linear: Tensor) -> Tensor:
    """Linear light to sRGB, both (..., 3); the straight part goes on below 0."""
    # The power has no gradient at zero, and NaN times the zero of the branch not taken is NaN.
    bright = linear > 0.0031308
    root = 1.055 * torch.where(bright, linear, 1.0) ** (1 / 2.4) - 0.055
    return torch.where(bright, root, 12.92 * linear)


def render(l: Tensor, ab: Tensor, leak: float = 0.0) -> Tensor:
    """Normalized l (..., 1) and ab (..., 2) to the RGB (..., 3) in [-1, 1] that D sees; negative light shrinks."""
    return 2 * curve(F.leaky_relu(lab_to_linear(torch.cat([100 * l + 50, 110 * ab], -1)), leak)) - 1


# ---- palettes --------------------------------------------------------------------------------------------------------


def histogram(
    ab: Tensor, bins: int = 16, sigma: float = 0.1, kernel: str = "inverse_quadratic", normalization: str = "sum"
) -> Tensor:
    """Normalized ab (B, H, W, 2) -> palette (B, bins * bins); the flat index is `bins * i_a + i_b`."""
    centers = torch.linspace(-1, 1, bins, dtype=ab.dtype)
    distance = ab.flatten(1, 2)[..., None] - centers  # (B, HW, 2, bins)
    if kernel == "inverse_quadratic":
        votes = 1 / (1 + (distance / sigma) ** 2)
    elif kernel == "gaussian":
        votes = torch.exp(-0.5 * (distance / sigma) ** 2)
    else:
        votes = F.one_hot(distance.abs().argmin(-1), bins).to(ab.dtype)
    counts = (votes[:, :, 0].transpose(1, 2) @ votes[:, :, 1]).flatten(1)  # (B, bins * bins)
    scale = counts.sum(-1, keepdim=True) if normalization == "sum" else counts.amax(-1, keepdim=True)
    return counts / (scale + 1e-6)


def entropy(h: Tensor) -> Tensor:
    """Entropy (B,) in nats of the palette (B, K) divided by its sum."""
    p = h / h.sum(-1, keepdim=True)
    return -torch.xlogy(p, p).sum(-1)


def hellinger(h: Tensor, g: Tensor) -> Tensor:
    """Hellinger distance (B,) in [0, 1] of two palettes (B, K), each divided by its sum."""
    h, g = h / h.sum(-1, keepdim=True), g / g.sum(-1, keepdim=True)
    return (0.5 * (h.sqrt() - g.sqrt()).square().sum(-1)).sqrt()


# ---- losses ----------------------------------------------------------------------------------------------------------


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge: mean relu(1 - real) + mean relu(1 + fake)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def adversarial_loss(fake: Tensor) -> Tensor:
    """The generator's part: minus D's mean logit."""
    return -fake.mean()


def l1_loss(prediction: Tensor, truth: Tensor) -> Tensor:
    return (prediction - truth).abs().mean()


def palette_loss(predicted: Tensor, truth: Tensor, entropy_weight: float = 0.01) -> Tensor:
    """Mean over the batch of `sum |h^ - h| - entropy_weight * Entropy(h^ / sum h^)`."""
    return ((predicted - truth).abs().sum(-1) - entropy_weight * entropy(predicted)).mean()


def palette_kl(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean KL divergence of the predicted palette (B, K) from the truth's."""
    p, q = truth / truth.sum(-1, keepdim=True), predicted / predicted.sum(-1, keepdim=True)
    return F.kl_div((q + 1e-8).log(), p, reduction="batchmean")


def palette_hellinger(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean squared Hellinger distance of two palettes (B, K)."""
    return hellinger(predicted, truth).square().mean()


def consistency_loss(ab: Tensor, truth: Tensor) -> Tensor:
    """Mean Hellinger distance between the palette of the output ab (B, H, W, 2) and the palette (B, K) asked for."""
    return hellinger(histogram(ab), truth).mean()


def kl_loss(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Mean over the batch of KL(N(mean, exp(log_variance)) || N(0, 1)), summed over the code."""
    return (0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)).sum(-1).mean()
