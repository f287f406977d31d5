"""G as a part of an ONNX graph: see nn/assignment_generator.py, nn/norms.py and nn/attention.py."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from palgan_jax.export.graph import Tensor
from palgan_jax.export.layers import (
    Part,
    as_planes,
    average_pool,
    cut_patches,
    fold_patches,
    leaky_relu,
    reshape,
    shrink,
    slice_channels,
    upsample,
)
from palgan_jax.nn.attention import RADIUS_SIDE
from palgan_jax.nn.norms import EPSILON
from palgan_jax.nn.ops.attention import PATCH


class Painter:
    """G with its palette and its luminance.

    Args:
      part: the arrays of G.
      net: the config's fields of the networks.
      l: normalized luminance (B, 1, H, W).
      palette: (B, K), as the networks take it.
      side: the pixels of H and W where these are one known number, else None.
    """

    def __init__(self, part: Part, net: Mapping[str, Any], l: Tensor, palette: Tensor, side: int | None) -> None:
        self._part, self._net, self._l, self._side = part, net, l, side
        self._palette = palette * float(net["palette_scale"])
        self._shrunk: dict[int, Tensor] = {}

    def paint(self, taps: list[Tensor]) -> Tensor:
        """Adds G: [M1, ..., M4] to normalized ab (B, 2, H, W)."""
        part, (m1, m2, m3, m4) = self._part, taps
        x = leaky_relu((part / "stem").conv(self._luminance(16), m4))
        x = self._stage(x, 0)  # (B, 512, H/16, W/16), at width 1
        s = self._stage(self._l.graph.concatenate([upsample(x), m3]), 1)  # (B, 256, H/8, W/8)
        x = self._stage(self._l.graph.concatenate([upsample(s), m2]), 2)  # (B, 128, H/4, W/4)
        f = self._stage(self._l.graph.concatenate([upsample(x), m1]), 3)  # (B, 64, H/2, W/2)
        x = self._attend(part / "attention", s, f)
        return self._l.graph.add("Tanh", (part / "colour").conv(upsample(x)))  # (B, 2, H, W)

    def _luminance(self, factor: int) -> Tensor:
        """Returns the luminance at a part of its size."""
        if factor not in self._shrunk:
            self._shrunk[factor] = shrink(self._l, factor)
        return self._shrunk[factor]

    def _stage(self, x: Tensor, number: int) -> Tensor:
        for i in range(2):
            x = self._block(self._part / f"block_{number}{i}", x, 16 >> number)
        return x

    def _block(self, block: Part, x: Tensor, factor: int) -> Tensor:
        y = leaky_relu(self._norm(block / "norm_0", x, factor))
        y = leaky_relu(self._norm(block / "norm_1", (block / "conv_0").conv(y), factor))
        y = (block / "conv_1").conv(y)
        shortcut = block / "conv_shortcut"
        return (shortcut.conv(self._norm(block / "norm_shortcut", x, factor)) if shortcut.is_there() else x) + y

    # ------------------------------------------------------------------------------------------------------------ norms

    def _norm(self, norm: Part, x: Tensor, factor: int) -> Tensor:
        """Adds one of the norms, of features at a part of the picture's size."""
        kind, batch = self._net["norm"], norm / "BatchNorm_0"
        if kind == "instance":
            channels = norm.parameter("gamma/bias").size
            ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
            return _modulated(
                x.graph.add("InstanceNormalization", x, ones, zeros, epsilon=EPSILON), *self._of_palette(norm)
            )
        mean, gain = batch.statistic("mean"), 1 / np.sqrt(batch.statistic("var") + EPSILON)
        if kind == "batch":
            gain = gain * batch.parameter("scale")
            return x * _planes(gain) + _planes(batch.parameter("bias") - mean * gain)
        if kind == "spade":
            seen, spread = (norm / "seen").conv(self._luminance(factor)), (norm / "spread").dense(self._palette)
            z = leaky_relu(seen + as_planes(spread))
            n = (x - _planes(mean)) * _planes(gain)
            return _modulated(n, (norm / "gamma").conv(z), (norm / "beta").conv(z))
        # n (1 + gamma) + beta with n = (x - mean) gain: one factor and one summand for each channel.
        gamma, beta = self._of_palette(norm)
        factor_of_x = (gamma + 1.0) * _planes(gain)
        return x * factor_of_x + (beta - factor_of_x * _planes(mean))

    def _of_palette(self, norm: Part) -> tuple[Tensor, Tensor]:
        """Returns gamma and beta (B, C, 1, 1)."""
        z = leaky_relu((norm / "hidden").dense(self._palette))
        return as_planes((norm / "gamma").dense(z)), as_planes((norm / "beta").dense(z))

    # -------------------------------------------------------------------------------------------------------- attention

    def _attend(self, part: Part, s: Tensor, f: Tensor) -> Tensor:
        """Adds chromatic attention: S (B, Cs, H/8, W/8) and F (B, Cf, H/2, W/2) to F's shape."""
        kind = self._net["attention"]
        if kind == "none":
            return f
        value = (part / "value").conv(f)
        if kind == "self":
            mixed = self._mix(part, average_pool(f, PATCH), value)
            return f + (part / "fusion").conv(mixed) * float(part.parameter("gain"))
        branches = []
        if kind != "local":
            branches.append(self._mix(part, s, value))
        if kind != "global":
            branches.append(self._delineate(part, value))
        fused = (part / "fusion").conv(*branches)
        return f + fused if self._net["attention_residual"] else fused

    def _mix(self, part: Part, s: Tensor, value: Tensor) -> Tensor:
        """Replaces the patches of value (B, C, H, W) by means of all, where S, a pixel for each patch, is alike."""
        graph, channels = s.graph, part.parameter("value/bias").size
        q, k = (reshape((part / name).conv(s), 0, channels, -1) for name in ("query", "key"))  # (B, C, N)
        scores = graph.add("Transpose", q, perm=[0, 2, 1]) @ k  # (B, N, N)
        weights = graph.add("Softmax", scores / float(np.sqrt(channels)), axis=2)
        patches, shape = cut_patches(value, PATCH, channels)  # (B, N, 16 C)
        return fold_patches(weights @ patches, shape, value)

    def _delineate(self, part: Part, value: Tensor) -> Tensor:
        """Models value (B, C, H, W) locally as a * guide + b."""
        l, guide = self._luminance(2), part / "guide"
        if self._net["local"] == "affine":
            seen = guide.conv(l) if guide.is_there() else l
            ab, channels = (part / "affine").conv(value, seen), part.parameter("value/bias").size
            return slice_channels(ab, 0, channels) * seen + slice_channels(ab, channels, 2 * channels)
        scale = guide.kernel()[0, 0, 0][:, None, None] if guide.is_there() else 1.0  # (C, 1, 1)
        with np.errstate(divide="ignore"):  # a guide that is 0 everywhere: the slope is 0, too
            eps = np.float32(self._net["guided_eps"]) / np.square(scale, dtype=np.float32)
        mean = self._means_of_windows(l)
        mean_l, mean_x = mean(l), mean(value)
        variance, covariance = mean(l * l) - mean_l * mean_l, mean(l * value) - mean_l * mean_x
        # The slope of scale * l, times the scale: scale^2 cov / (scale^2 var + eps).
        slope = covariance / (variance + eps)
        if self._net["local"] == "guided_without_b":
            return mean(slope) * l
        return mean(slope) * l + mean(mean_x - slope * mean_l)

    def _means_of_windows(self, l: Tensor) -> Callable[[Tensor], Tensor]:
        """Returns the function that averages windows around each pixel of pictures of l's size, cut at the borders.

        As products with one matrix for each axis, whose rows hold the shares of the pixels of a window: the size of
        windows follows that of the picture, which AveragePool cannot do.
        """
        graph, share = l.graph, self._net["guided_radius"] * 2 / RADIUS_SIDE
        if self._side is not None:
            place = np.arange(self._side // 2)
            near = np.abs(place[:, None] - place) <= max(1, round(share * len(place)))
            shares = (near / near.sum(axis=1, keepdims=True)).astype(np.float32)
            return lambda x: graph.constant(shares) @ x @ shares.T
        sizes = [graph.add("Gather", graph.add("Shape", l), np.array(axis)) for axis in (2, 3)]
        radius = graph.add("Cast", graph.add("Min", *sizes), to=TensorProto.FLOAT) * share
        radius = graph.add("Max", graph.add("Round", radius), 1.0)

        def rows(size: Tensor) -> Tensor:
            place = graph.add("Cast", graph.add("Range", np.array(0), size, np.array(1)), to=TensorProto.FLOAT)
            columns, lines = (graph.add("Unsqueeze", place, np.array([axis])) for axis in (0, 1))
            near = graph.add("LessOrEqual", graph.add("Abs", lines - columns), radius)
            near = graph.add("Cast", near, to=TensorProto.FLOAT)
            return near / graph.add("ReduceSum", near, np.array([1]), keepdims=1)

        above, beside = rows(sizes[0]), graph.add("Transpose", rows(sizes[1]), perm=[1, 0])
        return lambda x: above @ x @ beside


def _planes(x: np.ndarray) -> np.ndarray:
    """Returns numbers of channels (C,) as planes (C, 1, 1)."""
    return np.asarray(x, np.float32)[:, None, None]


def _modulated(n: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return n * gamma + n + beta
