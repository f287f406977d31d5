"""The layers of all three networks: convolution, dense layer, spectral norm, residual block.

Pictures are NHWC. Parameters, batch statistics and the spectral iteration are float32; `dtype` is that of the
activations (None: float32, or jnp.bfloat16 on accelerators).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.nn.ops.columns import Strips, convolve_strips, spread
from palgan_jax.nn.ops.convolution import convolve
from palgan_jax.nn.ops.upsampling import convolve_upsampled

XAVIER = nn.initializers.variance_scaling(0.02**2, "fan_avg", "normal")
"""Xavier with gain 0.02 (method: section 8)."""
HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


def scaled(channels: int, width: float) -> int:
    """The number of channels at a width multiplier: 1 is the paper's network."""
    return max(4, round(channels * width))


def leaky_relu(x: jax.Array) -> jax.Array:
    """LeakyReLU(0.2), the activation of all three networks."""
    return nn.leaky_relu(x, 0.2)


@jax.custom_jvp
def leaky_relu_of_kept(x: jax.Array) -> jax.Array:
    """The same, where the result is kept for others: its derivative looks at it, so that x need not be kept as well."""
    return leaky_relu(x)


@leaky_relu_of_kept.defjvp
def _leaky_relu_of_kept_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    y = leaky_relu_of_kept(*primals)
    (dx,) = tangents
    return y, jnp.where(y >= 0, dx, 0.2 * dx)


def spectral_norm(module: nn.Module, kernel: jax.Array, train: bool) -> jax.Array:
    """Divides a kernel (..., C) by the largest singular value of its matrix (product of the rest, C).

    One power iteration a call; the vector `u` lives in the collection "spectral" and is only updated while training.
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

    (B, H, W, C) to (B, H / stride, W / stride, features). `doubled` convolves the picture upsampled to (B, 2H, 2W, C).
    Several x, whose channels stand for those of one, are not put together: the products with their parts of the kernel
    are added. With `strips`, x is in strips of as many columns as the first number, and the result of the second
    (nn/ops/columns.py); what is doubled comes in none.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    padding: int | None = None
    use_bias: bool = True
    spectral: bool = False
    doubled: bool = False
    strips: Strips = (1, 1)
    kernel_init: nn.initializers.Initializer = XAVIER
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array | list[jax.Array], train: bool = False) -> jax.Array:
        parts = x if isinstance(x, list) else [x]
        edges = np.cumsum([part.shape[-1] // self.strips[0] for part in parts])
        kernel = self.param("kernel", self.kernel_init, (self.kernel, self.kernel, int(edges[-1]), self.features))
        if self.spectral:
            kernel = spectral_norm(self, kernel, train)
        dtype = self.dtype or jnp.float32
        kernels = jnp.split(kernel.astype(dtype), edges[:-1], axis=2)
        products = [self._convolve(part.astype(dtype), k) for part, k in zip(parts, kernels, strict=True)]
        y = sum(products[1:], products[0])
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(dtype)
            y = y + spread(bias, self.strips[1])
        return y

    def _convolve(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        if self.doubled:
            return convolve_upsampled(x, kernel, self.strips[0]).astype(x.dtype)
        padding = self.kernel // 2 if self.padding is None else self.padding
        if self.strips == (1, 1):
            return convolve(x, kernel, self.stride, padding)
        return convolve_strips(x, kernel, self.stride, padding, self.strips)


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
    """The residual block of SPADE with PalNorm in its norm's place (method: section 4).

    (B, H, W, C) to (B, H, W, features), x in strips of as many columns as the first number, the result of the second.
    The first convolution has no bias: the norm behind it takes out whatever constant it would add.
    """

    features: int
    norm: nn.Module  # a PalNorm that is cloned for each place
    spectral: bool = True
    strips: Strips = (1, 1)
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, h: jax.Array, l: jax.Array, train: bool) -> jax.Array:
        seen, made = self.strips
        channels = x.shape[-1] // seen

        def normed(x: jax.Array, name: str, strips: int) -> jax.Array:
            return self.norm.clone(parent=self, name=name, strips=strips)(x, h, l, train)

        def conv(name: str, features: int, kernel: int, strips: Strips, use_bias: bool) -> Conv:
            return Conv(
                features, kernel, use_bias=use_bias, spectral=self.spectral, strips=strips, dtype=self.dtype, name=name
            )

        y = leaky_relu(normed(x, "norm_0", seen))
        y = conv("conv_0", min(channels, self.features), 3, self.strips, False)(y, train)
        y = leaky_relu(normed(y, "norm_1", made))
        y = conv("conv_1", self.features, 3, (made, made), True)(y, train)
        if channels == self.features:
            return x + y
        return conv("conv_shortcut", self.features, 1, self.strips, False)(normed(x, "norm_shortcut", seen), train) + y
