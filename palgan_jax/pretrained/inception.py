"""InceptionV3 (Szegedy et al., 2016) as FID uses it: the network of TensorFlow's release of December 2015.

Its weights are not those of torchvision, and it has quirks of its own, kept here as pytorch-fid keeps them: the average
pools do not count the padding, and the last block pools with a maximum where the paper has an average. Names are
torchvision's, so that a state dict maps to parameters one to one. Batch normalization is folded into the convolutions
(by `kinds`), since its statistics never change here.

The parameters are an argument of every call, never a constant of the compiled program: they take 87 MB.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from palgan_jax.nn.layers import Conv
from palgan_jax.nn.ops.convolution import convolve
from palgan_jax.nn.ops.pooling import average_pool, halving_max_pool, max_pool

SIZE = 299
FEATURE_SIZE = 2048
BATCH_NORM_EPS = 1e-3


def _conv(x: jax.Array, name: str, width: int, kernel: int | tuple[int, int] = 1, *, stride: int = 1) -> jax.Array:
    """Applies a convolution and its ReLU as a submodule of the caller; padded unless it has a stride."""
    if isinstance(kernel, int):
        return nn.relu(Conv(width, kernel, stride, None if stride == 1 else 0, name=name)(x))
    return nn.relu(_LineConv(width, kernel, name=name)(x))


class _LineConv(nn.Module):
    """A convolution with a kernel of one row or one column, (B, H, W, C) -> (B, H, W, features)."""

    features: int
    kernel: tuple[int, int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (*self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return convolve(x, kernel, 1, (self.kernel[0] // 2, self.kernel[1] // 2)) + bias


def _inner(x: jax.Array) -> jax.Array:
    """Crops the result of a padded 3 x 3 convolution to that of one without padding.

    On CPUs, XLA takes three times as long for a convolution without padding as for both.
    """
    return x[:, 1:-1, 1:-1]


class _BlockA(nn.Module):
    """Mixed_5b, 5c, 5d: (B, 35, 35, C) -> (B, 35, 35, 224 + pool)."""

    pool: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        branch_5x5 = _conv(_conv(x, "branch5x5_1", 48), "branch5x5_2", 64, 5)
        branch_3x3 = _conv(_conv(x, "branch3x3dbl_1", 64), "branch3x3dbl_2", 96, 3)
        branch_3x3 = _conv(branch_3x3, "branch3x3dbl_3", 96, 3)
        pooled = _conv(average_pool(x), "branch_pool", self.pool)
        return jnp.concatenate([_conv(x, "branch1x1", 64), branch_5x5, branch_3x3, pooled], axis=-1)


class _BlockB(nn.Module):
    """Mixed_6a: (B, 35, 35, 288) -> (B, 17, 17, 768)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        double = _conv(_conv(x, "branch3x3dbl_1", 64), "branch3x3dbl_2", 96, 3)
        double = _conv(double, "branch3x3dbl_3", 96, 3, stride=2)
        return jnp.concatenate([_conv(x, "branch3x3", 384, 3, stride=2), double, halving_max_pool(x)], axis=-1)


class _BlockC(nn.Module):
    """Mixed_6b to 6e: (B, 17, 17, 768) -> the same, through `width` channels."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        branch_7x7 = _conv(_conv(x, "branch7x7_1", self.width), "branch7x7_2", self.width, (1, 7))
        branch_7x7 = _conv(branch_7x7, "branch7x7_3", 192, (7, 1))
        double = _conv(x, "branch7x7dbl_1", self.width)
        for i, kernel in enumerate([(7, 1), (1, 7), (7, 1)], 2):
            double = _conv(double, f"branch7x7dbl_{i}", self.width, kernel)
        double = _conv(double, "branch7x7dbl_5", 192, (1, 7))
        pooled = _conv(average_pool(x), "branch_pool", 192)
        return jnp.concatenate([_conv(x, "branch1x1", 192), branch_7x7, double, pooled], axis=-1)


class _BlockD(nn.Module):
    """Mixed_7a: (B, 17, 17, 768) -> (B, 8, 8, 1280)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        branch_3x3 = _conv(_conv(x, "branch3x3_1", 192), "branch3x3_2", 320, 3, stride=2)
        branch_7x7 = _conv(_conv(x, "branch7x7x3_1", 192), "branch7x7x3_2", 192, (1, 7))
        branch_7x7 = _conv(_conv(branch_7x7, "branch7x7x3_3", 192, (7, 1)), "branch7x7x3_4", 192, 3, stride=2)
        return jnp.concatenate([branch_3x3, branch_7x7, halving_max_pool(x)], axis=-1)


class _BlockE(nn.Module):
    """Mixed_7b and 7c: (B, 8, 8, C) -> (B, 8, 8, 2048)."""

    pool: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        branch_3x3 = _conv(x, "branch3x3_1", 384)
        double = _conv(_conv(x, "branch3x3dbl_1", 448), "branch3x3dbl_2", 384, 3)
        branches = [
            _conv(x, "branch1x1", 320),
            _conv(branch_3x3, "branch3x3_2a", 384, (1, 3)),
            _conv(branch_3x3, "branch3x3_2b", 384, (3, 1)),
            _conv(double, "branch3x3dbl_3a", 384, (1, 3)),
            _conv(double, "branch3x3dbl_3b", 384, (3, 1)),
            _conv(self.pool(x), "branch_pool", 192),
        ]
        return jnp.concatenate(branches, axis=-1)


class InceptionV3(nn.Module):
    """sRGB (B, H, W, 3) in [-1, 1], of any size -> features (B, 2048), float32.

    Resizes to 299 x 299 first, bilinearly and without antialiasing, as pytorch-fid does. Parameters:
    `{"Conv2d_1a_3x3": {"kernel": (3, 3, 3, 32), "bias": (32,)}, "Mixed_5b": {"branch1x1": {...}, ...}, ...}`, from
    `load.load_metric_weights("inception")`.
    """

    @nn.compact
    def __call__(self, rgb: jax.Array) -> jax.Array:
        x = jax.image.resize(rgb, (rgb.shape[0], SIZE, SIZE, 3), "bilinear", antialias=False)
        x = _conv(x, "Conv2d_1a_3x3", 32, 3, stride=2)  # (B, 149, 149, 32)
        x = _inner(_conv(x, "Conv2d_2a_3x3", 32, 3))  # (B, 147, 147, 32)
        x = halving_max_pool(_conv(x, "Conv2d_2b_3x3", 64, 3))  # (B, 73, 73, 64)
        x = _conv(x, "Conv2d_3b_1x1", 80)
        x = halving_max_pool(_inner(_conv(x, "Conv2d_4a_3x3", 192, 3)))  # (B, 35, 35, 192)
        for letter, pool in (("b", 32), ("c", 64), ("d", 64)):
            x = _BlockA(pool, name=f"Mixed_5{letter}")(x)
        x = _BlockB(name="Mixed_6a")(x)  # (B, 17, 17, 768)
        for letter, width in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
            x = _BlockC(width, name=f"Mixed_6{letter}")(x)
        x = _BlockD(name="Mixed_7a")(x)  # (B, 8, 8, 1280)
        x = _BlockE(average_pool, name="Mixed_7b")(x)
        x = _BlockE(max_pool, name="Mixed_7c")(x)  # (B, 8, 8, 2048)
        return jnp.mean(x, axis=(1, 2))


def inception_features(params: Any, rgb: jax.Array) -> jax.Array:
    """Computes the features (B, 2048) that FID compares, of sRGB (B, H, W, 3) in [-1, 1], in float32 on any device."""
    with jax.default_matmul_precision("highest"):
        return InceptionV3().apply({"params": params}, jnp.asarray(rgb, jnp.float32))  # type: ignore[return-value]
