"""G as a part of an ONNX graph: see nn/assignment_generator.py, nn/norms.py and nn/attention.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    slice_axis,
    upsample,
)
from palgan_jax.nn.dimensions import NORM_EPSILON, PATCH, RADIUS_SIDE

_BAND = 1024
"""Queries of attention whose scores are in memory at once, where there are more than four times as many."""


@dataclass(frozen=True)
class Shares:
    """How much each of several palettes counts at each pixel.

    Attributes:
      tensor: (B, N, R, R), with the sum 1 over N.
      count: N, the number of palettes.
      side: R.
    """

    tensor: Tensor
    count: int
    side: int


def paint(
    part: Part,
    net: Mapping[str, Any],
    l: Tensor,
    palette: Tensor,
    taps: list[Tensor],
    side: int | None,
    shares: Shares | None = None,
) -> Tensor:
    """Adds G to normalized ab (B, 2, H, W), of l's size.

    taps: [M1, ..., M4]. side: of l. The other arguments are those of `Painter`.
    """
    stride = net["paint_stride"]
    luminance = l if stride == 1 else average_pool(l, stride)
    c = Painter(part, net, luminance, palette, side and side // stride, shares).paint(taps)
    return c if stride == 1 else upsample(c)


class Painter:
    """G with its palette and its luminance.

    Args:
      part: the arrays of G.
      net: the config's fields of the networks.
      l: normalized luminance (B, 1, H, W).
      palette: (B, K), as the networks take it; (B * N, K) where there are shares of N.
      side: the pixels of H and W where these are one known number, else None.
      shares: where each of several palettes paints, which needs a known side.
    """

    def __init__(
        self,
        part: Part,
        net: Mapping[str, Any],
        l: Tensor,
        palette: Tensor,
        side: int | None,
        shares: Shares | None = None,
    ) -> None:
        self._part, self._net, self._l, self._side, self._shares = part, net, l, side, shares
        self._palette = palette * float(net["palette_scale"])
        self._shrunk: dict[int, Tensor] = {}
        self._small_shares: dict[int, Tensor] = {}

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
                x.graph.add("InstanceNormalization", x, ones, zeros, epsilon=NORM_EPSILON),
                *self._of_palette(norm, factor),
            )
        mean, gain = batch.statistic("mean"), 1 / np.sqrt(batch.statistic("var") + NORM_EPSILON)
        if kind == "batch":
            gain = gain * batch.parameter("scale")
            return x * _planes(gain) + _planes(batch.parameter("bias") - mean * gain)
        if kind == "spade":
            luminance_features = (norm / "seen").conv(self._luminance(factor))
            z = leaky_relu(luminance_features + self._spread(norm / "spread", self._palette, factor))
            n = (x - _planes(mean)) * _planes(gain)
            return _modulated(n, (norm / "gamma").conv(z), (norm / "beta").conv(z))
        # n (1 + gamma) + beta with n = (x - mean) gain: one factor and one summand for each channel.
        gamma, beta = self._of_palette(norm, factor)
        factor_of_x = (gamma + 1.0) * _planes(gain)
        return x * factor_of_x + (beta - factor_of_x * _planes(mean))

    def _of_palette(self, norm: Part, factor: int) -> tuple[Tensor, Tensor]:
        """Returns gamma and beta (B, C, 1, 1), or (B, C, H, W) where there are shares."""
        z = leaky_relu((norm / "hidden").dense(self._palette))
        return self._spread(norm / "gamma", z, factor), self._spread(norm / "beta", z, factor)

    def _spread(self, layer: Part, z: Tensor, factor: int) -> Tensor:
        """Adds a dense layer of what is known of each palette, spread over features at a part of the picture's size.

        Returns (B, C, 1, 1), or the means by the shares of the palettes at each pixel, (B, C, H, W).
        """
        if self._shares is None:
            return as_planes(layer.dense(z))
        side, channels = self._side // factor, layer.kernel().shape[-1]  # type: ignore[operator]
        of_palettes = reshape(layer.dense(z), -1, self._shares.count, channels)  # (B, N, C)
        mixed = z.graph.add("Transpose", of_palettes, perm=[0, 2, 1]) @ self._shares_at(side)  # (B, C, H * W)
        return reshape(mixed, 0, 0, side, side)

    def _shares_at(self, side: int) -> Tensor:
        """Returns the shares at a size: (B, N, side * side)."""
        assert self._shares is not None
        if side not in self._small_shares:
            large, count = self._shares.side, self._shares.count
            planes = shrink(reshape(self._shares.tensor, -1, 1, large, large), large // side)
            self._small_shares[side] = reshape(planes, -1, count, side * side)
        return self._small_shares[side]

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
        q = graph.add("Transpose", q, perm=[0, 2, 1])
        patches, shape = cut_patches(value, PATCH, channels)  # (B, N, 16 C)
        means = [self._attended(band, k, patches, channels) for band in self._bands(q)]
        return fold_patches(graph.add("Concat", *means, axis=1) if len(means) > 1 else means[0], shape, value)

    def _attended(self, q: Tensor, k: Tensor, patches: Tensor, channels: int) -> Tensor:
        weights = q.graph.add("Softmax", q @ k / float(np.sqrt(channels)), axis=2)  # (B, M, N)
        return weights @ patches

    def _bands(self, q: Tensor) -> list[Tensor]:
        """Cuts the queries (B, N, C) of a large picture of known size: the scores of all would take gigabytes."""
        count = 0 if self._side is None else (self._side // (2 * PATCH)) ** 2
        if count <= 4 * _BAND:
            return [q]
        return [slice_axis(q, 1, first, min(first + _BAND, count)) for first in range(0, count, _BAND)]

    def _delineate(self, part: Part, value: Tensor) -> Tensor:
        """Models value (B, C, H, W) locally as a * guide + b."""
        l, guide = self._luminance(2), part / "guide"
        if self._net["local"] == "affine":
            luminance = guide.conv(l) if guide.is_there() else l
            ab, channels = (part / "affine").conv(value, luminance), part.parameter("value/bias").size
            return slice_axis(ab, 1, 0, channels) * luminance + slice_axis(ab, 1, channels, 2 * channels)
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
            is_near = np.abs(place[:, None] - place) <= max(1, round(share * len(place)))
            shares = (is_near / is_near.sum(axis=1, keepdims=True)).astype(np.float32)
            return lambda x: graph.constant(shares) @ x @ shares.T
        sizes = [graph.add("Gather", graph.add("Shape", l), np.array(axis)) for axis in (2, 3)]
        radius = graph.add("Cast", graph.add("Min", *sizes), to=TensorProto.FLOAT) * share
        radius = graph.add("Max", graph.add("Round", radius), 1.0)

        def rows(size: Tensor) -> Tensor:
            place = graph.add("Cast", graph.add("Range", np.array(0), size, np.array(1)), to=TensorProto.FLOAT)
            columns, lines = (graph.add("Unsqueeze", place, np.array([axis])) for axis in (0, 1))
            is_near = graph.add("LessOrEqual", graph.add("Abs", lines - columns), radius)
            is_near = graph.add("Cast", is_near, to=TensorProto.FLOAT)
            return is_near / graph.add("ReduceSum", is_near, np.array([1]), keepdims=1)

        row_means, column_means = rows(sizes[0]), graph.add("Transpose", rows(sizes[1]), perm=[1, 0])
        return lambda x: row_means @ x @ column_means


def _planes(x: np.ndarray) -> np.ndarray:
    """Returns numbers of channels (C,) as planes (C, 1, 1)."""
    return np.asarray(x, np.float32)[:, None, None]


def _modulated(n: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return n * gamma + n + beta
