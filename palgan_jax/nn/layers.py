"""The layers of all three networks: convolution, dense layer, spectral norm, residual block.

Pictures are NHWC. Parameters, batch statistics and the spectral iteration are float32; `dtype` is that of the
activations (None: float32, or jnp.bfloat16 on accelerators).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.choices import Init
from palgan_jax.nn.ops.columns import Picture
from palgan_jax.nn.ops.convolution import convolve
from palgan_jax.nn.ops.upsampling import convolve_upsampled
from palgan_jax.palette.regions import Regions

XAVIER = nn.initializers.variance_scaling(0.02**2, "fan_avg", "normal")
"""Xavier with gain 0.02 (method: section 8)."""
HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
LECUN = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


def scaled(channels: int, width: float) -> int:
    """Returns the number of channels at a width multiplier: 1 is the paper's network."""
    return max(4, round(channels * width))


def leaky_relu(x: Picture) -> Picture:
    """Computes LeakyReLU(0.2), the activation of all three networks."""
    return jax.tree.map(lambda array: nn.leaky_relu(array, 0.2), x)


@jax.custom_jvp
def leaky_relu_of_output(x: jax.Array) -> jax.Array:
    """Computes LeakyReLU(0.2) with a derivative that reads the output, so that the input need not be saved."""
    return nn.leaky_relu(x, 0.2)


@leaky_relu_of_output.defjvp
def _leaky_relu_of_output_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    y = leaky_relu_of_output(*primals)
    (dx,) = tangents
    return y, jnp.where(y >= 0, dx, 0.2 * dx)


def spectral_norm(module: nn.Module, kernel: jax.Array, train: bool) -> jax.Array:
    """Divides a kernel (..., C) by the largest singular value of its matrix (M, C) (Miyato et al., 2018).

    sigma = v^T W u after one power iteration a call, v = W u / |W u| and u = W^T v / |W^T v|. The vector `u` (1, C)
    lives in the collection "spectral" and is only updated while training.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])  # (M, C)
    u = module.variable(
        "spectral", "u", lambda: jax.random.normal(module.make_rng("params"), (1, kernel.shape[-1]), jnp.float32)
    )
    highest = jax.lax.Precision.HIGHEST
    left = _unit(jnp.matmul(u.value, matrix.T, precision=highest))  # (1, M)
    right = _unit(jnp.matmul(left, matrix, precision=highest))  # (1, C)
    left, right = jax.lax.stop_gradient((left, right))
    if train and not module.is_initializing():
        u.value = right
    sigma = jnp.sum(jnp.matmul(left, matrix, precision=highest) * right)
    return kernel / jnp.where(sigma != 0, sigma, 1.0)


def _unit(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.sum(x**2) + 1e-12)


class Conv(nn.Module):
    """A square convolution with padding kernel // 2, optionally with spectral norm.

    (B, H, W, C) to (B, H / stride, W / stride, features). A list of inputs is treated as one input concatenated along
    channels, without concatenating it: the products with their parts of the kernel are added. `upsampled` convolves the
    picture upsampled to (B, 2H, 2W, C). `columns` packs the result (ops/columns.py); None: as the input is.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    padding: int | None = None
    use_bias: bool = True
    spectral: bool = False
    upsampled: bool = False
    columns: int | None = None
    kernel_init: nn.initializers.Initializer = XAVIER
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Picture | list[Picture], train: bool = False) -> Picture:
        parts = x if isinstance(x, list) else [x]
        edges = np.cumsum([part.shape[-1] for part in parts])
        kernel = self.param("kernel", self.kernel_init, (self.kernel, self.kernel, int(edges[-1]), self.features))
        if self.spectral:
            kernel = spectral_norm(self, kernel, train)
        dtype = self.dtype or jnp.float32
        kernels = jnp.split(kernel.astype(dtype), edges[:-1], axis=2)
        products = [self._convolve(part.astype(dtype), k) for part, k in zip(parts, kernels, strict=True)]
        y = sum(products[1:], products[0])
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(dtype)
        return y

    def _convolve(self, x: Picture, kernel: jax.Array) -> Picture:
        if self.upsampled:
            return convolve_upsampled(x, kernel).astype(x.dtype)
        padding = self.kernel // 2 if self.padding is None else self.padding
        return convolve(x, kernel, self.stride, padding, self.columns)


class Dense(nn.Module):
    """A fully connected layer, optionally with spectral norm: (..., C) to (..., features)."""

    features: int
    spectral: bool = False
    kernel_init: nn.initializers.Initializer = XAVIER
    bias_init: nn.initializers.Initializer = nn.initializers.zeros
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        if self.spectral:
            kernel = spectral_norm(self, kernel, train)
        dtype = self.dtype or jnp.float32
        y = jnp.matmul(x.astype(dtype), kernel.astype(dtype))
        return y + self.param("bias", self.bias_init, (self.features,)).astype(dtype)


class ResBlock(nn.Module):
    """The residual block of SPADE with PalNorm as its norm (method: section 4): (B, H, W, C) to (B, H, W, features).

    The first convolution has no bias, since the norm behind it takes out any constant. `columns` packs the result
    (ops/columns.py).
    """

    features: int
    norm: nn.Module  # a PalNorm that is cloned for each place
    spectral: bool = True
    columns: int | None = None
    first_weights: Init = "xavier"
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Picture, h: jax.Array | Regions, l: jax.Array, train: bool) -> Picture:
        channels, kernel_init = x.shape[-1], HE if self.first_weights == "he" else XAVIER

        def normed(x: Picture, name: str) -> Picture:
            return self.norm.clone(parent=self, name=name)(x, h, l, train)

        def conv(name: str, features: int, kernel: int, use_bias: bool) -> Conv:
            return Conv(
                features, kernel, use_bias=use_bias, spectral=self.spectral, columns=self.columns,
                kernel_init=kernel_init, dtype=self.dtype, name=name,
            )  # fmt: skip

        y = leaky_relu(normed(x, "norm_0"))
        y = conv("conv_0", min(channels, self.features), 3, False)(y, train)
        y = leaky_relu(normed(y, "norm_1"))
        y = conv("conv_1", self.features, 3, True)(y, train)
        if channels == self.features:
            return x + y
        return conv("conv_shortcut", self.features, 1, False)(normed(x, "norm_shortcut"), train) + y
