"""VGG16 and AlexNet up to their last convolution, as torchvision has them.

VGG16 is Simonyan and Zisserman's (2015), AlexNet Krizhevsky's (2014, "One weird trick"). LPIPS (metrics/lpips.py)
compares features of either, the perceptual loss (training/losses.py) those of VGG16.

Contract: pictures are (B, H, W, 3) sRGB in [-1, 1], H and W at least 16; they are normalized here as the weights were
trained with (ImageNet). The parameters are an argument of every function, never a constant of the compiled program:
59 MB of constants bloat it and its compilation.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from palgan_jax.nn.layers import Conv
from palgan_jax.nn.ops.pooling import halving_max_pool

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
"""(name, output channels) of VGG16's convolutions; the first digit is the stage, which starts with a pool but for 1."""

LPIPS_VGG16_LAYERS = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")
"""The activations of VGG16 that LPIPS compares; of AlexNet it takes all five."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize_imagenet(rgb: jax.Array) -> jax.Array:
    """Converts sRGB (..., 3) in [-1, 1] to the zero-mean, unit-deviation input of ImageNet classifiers."""
    mean, std = jnp.asarray(IMAGENET_MEAN, rgb.dtype), jnp.asarray(IMAGENET_STD, rgb.dtype)
    return (rgb * 0.5 + 0.5 - mean) / std


class VGG16(nn.Module):
    """The convolutional part of VGG16; returns the activations (after the ReLU) of `layers`, in their order.

    Parameters: `{"conv1_1": {"kernel": (3, 3, 3, 64), "bias": (64,)}, ...}`, from `load.load_vgg16`. It stops at the
    deepest of `layers`, so that parameters of later ones may be missing. Raises ValueError for other names.
    """

    layers: Sequence[str]
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, rgb: jax.Array) -> tuple[jax.Array, ...]:
        """Returns one (B, H / 2^(s-1), W / 2^(s-1), C) for each layer, s its stage, of (B, H, W, 3) in [-1, 1]."""
        unknown = set(self.layers) - {name for name, _ in VGG16_CONVS}
        if unknown or not self.layers:
            raise ValueError(f"layers of VGG16 must be among conv1_1 .. conv5_3, got {tuple(self.layers)}")
        activations: dict[str, jax.Array] = {}
        x, stage = normalize_imagenet(rgb), "1"
        for name, width in VGG16_CONVS:
            if name[4] != stage:
                x, stage = nn.max_pool(x, (2, 2), (2, 2)), name[4]
            x = nn.relu(Conv(width, dtype=self.dtype, name=name)(x))
            activations[name] = x
            if activations.keys() >= set(self.layers):
                break
        return tuple(activations[name] for name in self.layers)


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
        """Returns five of (B, h, w, C), h = H / 4, / 8, / 16, / 16, / 16, of (B, H, W, 3) in [-1, 1], H, W >= 32."""
        activations, x = [], normalize_imagenet(rgb)
        for name, width, size in ALEXNET_CONVS:
            if name in ("conv2", "conv3"):
                x = halving_max_pool(x)
            stride, padding = (4, 2) if name == "conv1" else (1, size // 2)
            x = nn.relu(Conv(width, size, stride, padding, name=name)(x))
            activations.append(x)
        return tuple(activations)
