"""Both kinds of E as parts of an ONNX graph: the palette, and the features M1 to M4 for G."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from palgan_jax.export.graph import Tensor
from palgan_jax.export.layers import (
    Part,
    as_planes,
    flat,
    leaky_relu,
    mean_of_picture,
    relu6,
    reordered_rows,
    reshape,
    sum_of_bins,
)
from palgan_jax.nn.dimensions import CHANNELS, FEATURES_EPSILON, LITE0_STAGES, LITE0_TAPS, LUMINANCE_BINS, TAPS

STRIDE = 2 ** len(CHANNELS)
"""Of all convolutions of the paper's E together."""


def encode(part: Part, net: Mapping[str, Any], l: Tensor, with_palette: bool, side: int) -> tuple[Any, list[Tensor]]:
    """Adds E: l (B, 1, H, W) to the palette (B, K), or None where it is not asked for, and [M1, ..., M4].

    `side` is that of the pictures that the paper's E predicts palettes for: its last layer takes no others.
    """
    if net["encoder"] == "paper":
        return _paper(part, net, l, with_palette, side)
    return _efficientnet_lite0(part, net, l, with_palette)


def _paper(part: Part, net: Mapping[str, Any], l: Tensor, with_palette: bool, side: int) -> tuple[Any, list[Tensor]]:
    """See nn/palette_generator.py."""
    x, taps = l, []
    for i in range(len(CHANNELS) if with_palette else TAPS):
        raw = (part / f"conv_{i}").conv(x, stride=2)
        x = leaky_relu(raw)
        if i < TAPS:
            taps.append(x if net["tap"] == "after" else raw)
    if not with_palette:
        return None, taps
    head = part / "head"
    kernel = head.weight(reordered_rows(head.kernel(), side // STRIDE), "kernel")
    h = l.graph.add("Sigmoid", l.graph.add("Gemm", flat(x), kernel, *head.biases()))  # (B, K)
    return h / (sum_of_bins(h) + 1e-6) if net["normalize_palette"] else h, taps


def _efficientnet_lite0(part: Part, net: Mapping[str, Any], l: Tensor, with_palette: bool) -> tuple[Any, list[Tensor]]:
    """See nn/pretrained_palette_generator.py."""
    levels, last = _levels(part / "encoder", _gray(l))
    first = net["paint_stride"].bit_length() - 1
    taps = [(part / f"tap_{i}").conv(level) for i, level in enumerate(levels[first : first + TAPS])]
    if not with_palette:
        return None, taps
    top = relu6((part / "encoder" / "head").conv(last))  # (B, 1280, H/32, W/32)
    means = [mean_of_picture(x) for x in (top, *levels[1:])]
    of_picture = l.graph.concatenate([*means, _luminance_histogram(l)])  # (B, 1792)
    cell = l.graph.concatenate([top, last])  # (B, 1600, H/32, W/32)
    logits = _standardized(part, "cell", cell) + _standardized(part, "picture", as_planes(of_picture))
    bins = part.parameter("cell/bias").size
    cells = l.graph.add("Softmax", reshape(logits, 0, bins, -1), axis=1)  # (B, K, cells)
    return l.graph.add("ReduceMean", cells, np.array([2]), keepdims=0), taps


def _gray(l: Tensor) -> Tensor:
    """Converts normalized luminance to sRGB in [-1, 1], as `color.lightness_to_srgb` has it."""
    f = (l * 100.0 + 66.0) / 116.0
    cubed = f * f * f
    light = l.graph.add("Where", f > 0.2068966, cubed, (f - 16 / 116) / 7.787)
    power = l.graph.add("Pow", l.graph.add("Clip", light, 0.0031308), 1 / 2.4)
    srgb = l.graph.add("Where", light > 0.0031308, power * 1.055 - 0.055, light * 12.92)
    return srgb * 2.0 - 1.0


def _levels(part: Part, gray: Tensor) -> tuple[list[Tensor], Tensor]:
    """Adds the encoder without its head: (B, 1, H, W) to its features at strides 2 to 32, and the last of them."""
    stem = part / "stem"
    # Three equal channels are one, with the sum of their kernels. "SAME" padding at stride 2 is at the end alone.
    kernel = stem.kernel().sum(axis=2, keepdims=True)
    x, levels, number = relu6(stem.convolve(gray, kernel, 2, (0, 0, 1, 1))), [], 0
    for stage in LITE0_STAGES:
        for i in range(stage.repeats):
            block, stride, y = part / f"block_{number}", stage.stride if i == 0 else 1, x
            if stage.expansion > 1:
                y = relu6((block / "expand").conv(y))
            kernel = (block / "depthwise").kernel()  # (k, k, 1, C)
            padding, total = (stage.kernel - stride) // 2, stage.kernel - stride
            pads = (padding, padding, total - padding, total - padding)
            y = relu6((block / "depthwise").convolve(y, kernel, stride, pads, groups=kernel.shape[-1]))
            y = (block / "project").conv(y)
            x = x + y if i > 0 else y  # the first block of each stage changes the width
            if number in LITE0_TAPS:
                levels.append(x)
            number += 1
    return levels, x


def _standardized(part: Part, name: str, x: Tensor) -> Tensor:
    """Standardizes features (B, F, H, W) and multiplies them by a dense layer's kernel: (B, K, H, W)."""
    features, layer = part / f"{name}_features", part / name
    gain = 1 / np.sqrt(features.statistic("var").astype(np.float64) + FEATURES_EPSILON)
    kernel = layer.kernel() * gain[:, None]
    bias = layer.parameter("bias") - features.statistic("mean") @ kernel
    weights = layer.weight(kernel.T[..., None, None], "kernel"), layer.weight(bias, "bias")
    return x.graph.add("Conv", x, *weights, kernel_shape=[1, 1])


def _luminance_histogram(l: Tensor) -> Tensor:
    """Counts the shares (B, 16) of pixels around evenly spaced values of luminance."""
    centers = np.linspace(-0.5, 0.5, LUMINANCE_BINS, dtype=np.float32)[:, None, None]
    distance = l.graph.add("Abs", l - centers)  # (B, 16, H, W)
    is_in_bin = l.graph.add("Cast", distance < 0.5 / (LUMINANCE_BINS - 1), to=1)
    return mean_of_picture(is_in_bin)
