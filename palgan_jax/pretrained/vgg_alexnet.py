"""Networks that know objects, and the perceptual loss: mean absolute difference of VGG16 features.

VGG16 is Simonyan and Zisserman's (2015), AlexNet Krizhevsky's (2014, "One weird trick"), as torchvision has them. LPIPS
(metrics/lpips.py) measures with both, the loss is of VGG16 alone.

Contract: pictures are (B, H, W, 3) sRGB in [-1, 1], H and W at least 16; features and losses are float32. The
parameters are an argument of every function, never a constant of the compiled program: 59 MB of constants bloat it
and its compilation.

The layers and their weights are inferred: the paper names no perceptual network. They are those of pix2pixHD and
SPADE (Park et al., 2019, whose residual block the paper's supplement cites): the first activation of each of the five
stages, weighted 1/32, 1/16, 1/8, 1/4 and 1. Those use VGG19, which equals VGG16 up to relu3_3; VGG16 is taken because
its weights come with a package, and because LPIPS then shares them. The input is normalized as the weights were
trained with (ImageNet).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from palgan_jax.nn.layers import Conv
from palgan_jax.nn.ops.pooling import halving_max_pool

# (name, output channels) of the 13 convolutions; the first digit is the stage, and each stage but the first starts
# with a pool.
VGG16_CONVS: tuple[tuple[str, int], ...] = (
    ("conv1_1", 64),
    ("conv1_2", 64),
    ("conv2_1", 128),
    ("conv2_2", 128),
    ("conv3_1", 256),
    ("conv3_2", 256),
    ("conv3_3", 256),
    ("conv4_1", 512),
    ("conv4_2", 512),
    ("conv4_3", 512),
    ("conv5_1", 512),
    ("conv5_2", 512),
    ("conv5_3", 512),
)

# Layer -> weight in the loss.
PERCEPTUAL_WEIGHTS: Mapping[str, float] = {
    "conv1_1": 1 / 32,
    "conv2_1": 1 / 16,
    "conv3_1": 1 / 8,
    "conv4_1": 1 / 4,
    "conv5_1": 1.0,
}

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize_imagenet(rgb: jax.Array) -> jax.Array:
    """sRGB in [-1, 1], (..., 3), to the zero-mean, unit-deviation input that ImageNet classifiers are trained with."""
    mean, std = jnp.asarray(IMAGENET_MEAN, rgb.dtype), jnp.asarray(IMAGENET_STD, rgb.dtype)
    return (rgb * 0.5 + 0.5 - mean) / std


class VGG16(nn.Module):
    """The convolutional part of VGG16; returns the activations (after the ReLU) of `layers`, in their order.

    Parameters: `{"conv1_1": {"kernel": (3, 3, 3, 64), "bias": (64,)}, ...}` as `imagenet_weights.load_vgg16` reads
    them. It stops at the deepest layer asked for, so that parameters of later ones may be missing.
    """

    layers: Sequence[str] = tuple(PERCEPTUAL_WEIGHTS)
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, rgb: jax.Array) -> tuple[jax.Array, ...]:
        """(B, H, W, 3) in [-1, 1] -> one (B, H / 2^(s-1), W / 2^(s-1), C) a layer, s its stage."""
        unknown = set(self.layers) - {name for name, _ in VGG16_CONVS}
        if unknown or not self.layers:
            raise ValueError(f"layers of VGG16 must be among conv1_1 .. conv5_3, got {tuple(self.layers)}")
        found: dict[str, jax.Array] = {}
        x, stage = normalize_imagenet(rgb), "1"
        for name, width in VGG16_CONVS:
            if name[4] != stage:
                x, stage = nn.max_pool(x, (2, 2), (2, 2)), name[4]
            x = nn.relu(Conv(width, dtype=self.dtype, name=name)(x))
            found[name] = x
            if found.keys() >= set(self.layers):
                break
        return tuple(found[name] for name in self.layers)


ALEXNET_CONVS: tuple[tuple[str, int, int], ...] = (
    ("conv1", 64, 11),
    ("conv2", 192, 5),
    ("conv3", 384, 3),
    ("conv4", 256, 3),
    ("conv5", 256, 3),
)
"""(name, output channels, kernel size) of AlexNet's convolutions."""


class AlexNet(nn.Module):
    """The convolutional part of AlexNet; returns the activations (after the ReLU) of all five convolutions.

    Parameters: `{"conv1": {"kernel": (11, 11, 3, 64), "bias": (64,)}, ...}`.
    """

    @nn.compact
    def __call__(self, rgb: jax.Array) -> tuple[jax.Array, ...]:
        """(B, H, W, 3) in [-1, 1], H and W at least 32 -> five of (B, h, w, C); h is H / 4, / 8, / 16, / 16, / 16."""
        found, x = [], normalize_imagenet(rgb)
        for name, width, size in ALEXNET_CONVS:
            if name in ("conv2", "conv3"):
                x = halving_max_pool(x)
            stride, padding = (4, 2) if name == "conv1" else (1, size // 2)
            x = nn.relu(Conv(width, size, stride, padding, name=name)(x))
            found.append(x)
        return tuple(found)


def perceptual_loss(
    params: Any,
    fake_rgb: jax.Array,
    real_rgb: jax.Array,
    *,
    weights: Mapping[str, float] = PERCEPTUAL_WEIGHTS,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Weighted sum over layers of the mean absolute difference of VGG16 features: a float32 scalar.

    `params`: from `imagenet_weights.load_vgg16`. `fake_rgb`, `real_rgb`: (B, H, W, 3) in [-1, 1]; no gradient reaches
    `real_rgb`. `dtype`: of the convolutions, e.g. bfloat16 on accelerators; the differences are taken in float32.
    """
    vgg = VGG16(layers=tuple(weights), dtype=dtype)
    fake: Any = vgg.apply({"params": params}, fake_rgb)
    # Two passes, not one over a concatenation: that would be a shuffle between devices where the batch is sharded.
    real: Any = jax.lax.stop_gradient(vgg.apply({"params": params}, real_rgb))
    distances = [jnp.abs(f.astype(jnp.float32) - r.astype(jnp.float32)).mean() for f, r in zip(fake, real, strict=True)]
    return sum((w * d for w, d in zip(weights.values(), distances, strict=True)), jnp.float32(0))
