"""EfficientNet-Lite0 without its classifier: an encoder whose weights others trained on ImageNet.

The network is EfficientNet-B0 (Tan and Le, 2019, arXiv:1905.11946, table 1) with the changes of the Lite variants
(tensorflow/tpu, models/official/efficientnet/lite/README.md): no squeeze-and-excite, and ReLU6 in place of swish.
Batch normalization is folded into the convolutions (by `pretrained.kinds`), so that each has a bias and there are no
statistics; trained further, it is a network without norms. Weights: `pretrained.load.load_efficientnet_lite0`.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from palgan_jax.nn.dimensions import LITE0_STAGES, LITE0_TAPS
from palgan_jax.nn.layers import HE, Conv
from palgan_jax.nn.ops.depthwise import depthwise, pad_same

STEM_WIDTH, HEAD_WIDTH = 32, 1280
BLOCKS = sum(stage.repeats for stage in LITE0_STAGES)
SIDE = 32
"""Sides of pictures are multiples of this."""
BATCH_NORM_EPS = 1e-3
"""Epsilon of the batch norms that were folded."""


class Depthwise(nn.Module):
    """A depthwise convolution with "SAME" padding, (B, H, W, C) to (B, H / stride, W / stride, C)."""

    kernel: int
    stride: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", HE, (self.kernel, self.kernel, 1, x.shape[-1]))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        dtype = self.dtype or jnp.float32
        return jnp.add(depthwise(x.astype(dtype), kernel.astype(dtype), self.stride), bias.astype(dtype))


class Block(nn.Module):
    """Expands, convolves each channel, projects (MBConv): (B, H, W, C) to (B, H / stride, W / stride, width).

    The projection has no activation. The input is added where the result has its shape.
    """

    width: int
    kernel: int
    stride: int
    expansion: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        y = x
        if self.expansion > 1:
            y = nn.relu6(Conv(self.expansion * channels, 1, kernel_init=HE, dtype=self.dtype, name="expand")(y))
        y = nn.relu6(Depthwise(self.kernel, self.stride, self.dtype, name="depthwise")(y))
        y = Conv(self.width, 1, kernel_init=HE, dtype=self.dtype, name="project")(y)
        return x + y if y.shape == x.shape else y


class EfficientNetLite0(nn.Module):
    """sRGB (B, H, W, 3) in [-1, 1], H and W multiples of 32 -> features at five scales.

    3.35 million parameters: `{"stem": {"kernel": (3, 3, 3, 32), "bias": (32,)}, "block_0": {"depthwise": {...},
    "project": {...}}, "block_1": {"expand": {...}, ...}, ..., "head": {...}}`. A gray picture is three equal channels.
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, rgb: jax.Array, frozen: int = 0) -> tuple[list[jax.Array], jax.Array]:
        """Returns the features of the blocks of `LITE0_TAPS` and of the head behind the last one.

        Args:
          rgb: (B, H, W, 3) in [-1, 1].
          frozen: no gradient passes the first so many blocks: 0 trains all, n > 0 stops it at the outputs of the stem
            and of blocks 0 to n - 1, 16 at all blocks, and 17 at the head too.

        Returns [(B, H/2, W/2, 16), (B, H/4, W/4, 24), (B, H/8, W/8, 40), (B, H/16, W/16, 112), (B, H/32, W/32, 320)],
        projections without an activation, and (B, H/32, W/32, 1280) in [0, 6]. Raises ValueError for other sides, and
        for `frozen` outside 0 to 17.
        """
        if rgb.shape[1] % SIDE or rgb.shape[2] % SIDE:
            raise ValueError(f"sides must be multiples of {SIDE}, got {rgb.shape[1]} x {rgb.shape[2]}")
        if not 0 <= frozen <= BLOCKS + 1:
            raise ValueError(f"frozen must be 0 to {BLOCKS + 1}, got {frozen}")
        stem = Conv(STEM_WIDTH, 3, 2, padding=0, kernel_init=HE, dtype=self.dtype, name="stem")
        x = _stopped(nn.relu6(stem(pad_same(rgb, 3, 2))), frozen > 0)
        taps, number = [], 0
        for stage in LITE0_STAGES:
            for i in range(stage.repeats):
                stride = stage.stride if i == 0 else 1
                block = Block(stage.width, stage.kernel, stride, stage.expansion, self.dtype, name=f"block_{number}")
                x = _stopped(block(x), number < frozen)
                if number in LITE0_TAPS:
                    taps.append(x)
                number += 1
        head = Conv(HEAD_WIDTH, 1, kernel_init=HE, dtype=self.dtype, name="head")
        return taps, _stopped(nn.relu6(head(x)), frozen > BLOCKS)


def parameters_of_blocks(frozen: int) -> set[str]:
    """Returns the names of the parts that are trained where `frozen` blocks are not, as of `EfficientNetLite0`."""
    parts = [f"block_{number}" for number in range(BLOCKS)] + ["head"]
    return {"stem", *parts} if frozen == 0 else set(parts[frozen:])


def _stopped(x: jax.Array, stop: bool) -> jax.Array:
    return jax.lax.stop_gradient(x) if stop else x
