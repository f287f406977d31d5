"""The layers of the networks as parts of an ONNX graph. Pictures are NCHW there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from palgan_jax.export.graph import Graph, Tensor
from palgan_jax.nn.fold import divided_by_sigma

Pads = tuple[int, int, int, int]
"""Zeros above, left, below and right of a picture."""


@dataclass(frozen=True)
class Part:
    """A part of the network with its trained arrays, by the names that Flax has for them.

    Attributes:
      graph: where its layers are added.
      arrays: all arrays of the network: {"params/assignment_generator/stem/kernel": ...}.
      path: "assignment_generator/stem".
    """

    graph: Graph
    arrays: Mapping[str, np.ndarray]
    path: str

    def __truediv__(self, name: str) -> "Part":
        return Part(self.graph, self.arrays, f"{self.path}/{name}")

    def parameter(self, name: str) -> np.ndarray:
        """Returns a parameter. Raises KeyError where there is none of that name."""
        return self.arrays[f"params/{self.path}/{name}"]

    def statistic(self, name: str) -> np.ndarray:
        """Returns an average that training kept. Raises KeyError where there is none of that name."""
        return self.arrays[f"batch_stats/{self.path}/{name}"]

    def weight(self, value: np.ndarray, name: str) -> Tensor:
        """Returns a trained array as a tensor, named after this part."""
        return self.graph.weight(value, f"{self.path}/{name}")

    def is_there(self) -> bool:
        """Returns True where the network has this layer."""
        return f"params/{self.path}/kernel" in self.arrays

    def kernel(self) -> np.ndarray:
        """Returns the kernel, (k, k, C, D) or (C, D), as it is at use: spectral norm is divided out."""
        kernel, u = self.parameter("kernel"), self.arrays.get(f"spectral/{self.path}/u")
        return kernel if u is None else divided_by_sigma(kernel, u)

    def biases(self) -> list[Tensor]:
        """Returns the bias (D,), or nothing where the layer has none."""
        has_bias = f"params/{self.path}/bias" in self.arrays
        return [self.weight(self.parameter("bias"), "bias")] if has_bias else []

    def conv(self, *parts: Tensor, stride: int = 1) -> Tensor:
        """Convolves pictures, joined along channels, with padding k // 2, to (B, D, H / stride, W / stride)."""
        kernel = self.kernel()
        return self.convolve(self.graph.concatenate(parts), kernel, stride, (kernel.shape[0] // 2,) * 4)

    def convolve(self, x: Tensor, kernel: np.ndarray, stride: int, pads: Pads, groups: int = 1) -> Tensor:
        """Convolves a picture with a kernel (k, k, C / groups, D), and adds the layer's bias."""
        weight = self.weight(kernel.transpose(3, 2, 0, 1), "kernel")
        return self.graph.add(
            "Conv", x, weight, *self.biases(),
            kernel_shape=kernel.shape[:2], strides=[stride] * 2, pads=pads, group=groups,
        )  # fmt: skip

    def dense(self, x: Tensor) -> Tensor:
        """Computes a fully connected layer: (B, C) to (B, D)."""
        return self.graph.add("Gemm", x, self.weight(self.kernel(), "kernel"), *self.biases())


def leaky_relu(x: Tensor) -> Tensor:
    """Computes LeakyReLU(0.2)."""
    return x.graph.add("LeakyRelu", x, alpha=0.2)


def relu6(x: Tensor) -> Tensor:
    """Clips to [0, 6]."""
    return x.graph.add("Clip", x, 0.0, 6.0)


def upsample(x: Tensor) -> Tensor:
    """Doubles height and width bilinearly: (B, C, H, W) to (B, C, 2H, 2W)."""
    scales = np.array([1, 1, 2, 2], np.float32)
    no_region = Tensor(x.graph, "")
    return x.graph.add("Resize", x, no_region, scales, mode="linear", coordinate_transformation_mode="half_pixel")


def shrink(l: Tensor, factor: int) -> Tensor:
    """Shrinks (B, 1, H, W) by an even factor, bilinearly and antialiased, as `jax.image.resize` does.

    As a strided convolution with the triangle, divided by that of ones, which takes account of the borders: runtimes
    for browsers and TensorRT refuse Resize with antialias.
    """
    graph = l.graph
    triangle = 1 - np.abs(np.arange(2 * factor) - factor + 0.5) / factor
    kernel = np.outer(triangle, triangle)[None, None] / factor**2
    ones = graph.add("Expand", 1.0, graph.add("Shape", l))

    def filtered(x: Tensor) -> Tensor:
        side, pad = 2 * factor, factor // 2
        return graph.add("Conv", x, kernel, kernel_shape=[side] * 2, strides=[factor] * 2, pads=[pad] * 4)

    return filtered(l) / filtered(ones)


def average_pool(x: Tensor, side: int) -> Tensor:
    """Averages squares: (B, C, H, W) to (B, C, H / side, W / side)."""
    return x.graph.add("AveragePool", x, kernel_shape=[side] * 2, strides=[side] * 2)


def mean_of_picture(x: Tensor) -> Tensor:
    """Averages over pixels: (B, C, H, W) to (B, C)."""
    return flat(x.graph.add("GlobalAveragePool", x))


def flat(x: Tensor) -> Tensor:
    """Flattens (B, ...) to (B, N)."""
    return x.graph.add("Flatten", x)


def as_planes(x: Tensor) -> Tensor:
    """Adds axes of height and width of one pixel: (B, C) to (B, C, 1, 1)."""
    return x.graph.add("Unsqueeze", x, np.array([2, 3]))


def sum_of_bins(h: Tensor) -> Tensor:
    """Sums palettes (B, K) over their bins: (B, 1)."""
    return h.graph.add("ReduceSum", h, np.array([1]), keepdims=1)


def reshape(x: Tensor, *shape: int) -> Tensor:
    """Reshapes a tensor; 0 keeps the size of an axis, and -1 stands for what is left."""
    return x.graph.add("Reshape", x, np.array(shape))


def cut_patches(x: Tensor, side: int, channels: int) -> tuple[Tensor, Tensor]:
    """Cuts (B, C, H, W) into squares that do not overlap: (B, N, side * side * C), and what `fold_patches` needs.

    Rank by rank, since one Reshape infers one size.
    """
    graph = x.graph
    x = reshape(x, 0, 0, 0, -1, side)  # (B, C, H, W/4, j), with side 4
    x = reshape(graph.add("Transpose", x, perm=[0, 1, 4, 3, 2]), 0, 0, 0, 0, -1, side)  # (B, C, j, W/4, H/4, i)
    x = graph.add("Transpose", x, perm=[0, 4, 3, 5, 2, 1])  # (B, H/4, W/4, i, j, C)
    return reshape(x, 0, -1, side**2 * channels), graph.add("Shape", x)


def fold_patches(patches: Tensor, shape: Tensor, like: Tensor) -> Tensor:
    """Inverts `cut_patches`, to the shape of the picture that was cut."""
    graph = patches.graph
    x = graph.add("Reshape", patches, shape)  # (B, H/4, W/4, i, j, C)
    x = graph.add("Transpose", x, perm=[0, 5, 1, 3, 2, 4])  # (B, C, H/4, i, W/4, j)
    return graph.add("Reshape", x, graph.add("Shape", like))


def slice_axis(x: Tensor, axis: int, first: int, last: int) -> Tensor:
    """Takes what lies from `first` to before `last` along an axis."""
    return x.graph.add("Slice", x, np.array([first]), np.array([last]), np.array([axis]))


def reordered_rows(kernel: np.ndarray, side: int) -> np.ndarray:
    """Reorders the rows of a dense kernel from pixels (side, side, C), as Flax flattens them, to (C, side, side)."""
    rows, columns = kernel.shape
    by_pixel: Sequence[int] = (side, side, rows // side**2, columns)
    return kernel.reshape(by_pixel).transpose(2, 0, 1, 3).reshape(rows, columns)
