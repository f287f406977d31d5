"""The layers of all three networks: convolution, dense layer, spectral norm, PalNorm and its rivals, residual block.

Pictures are NHWC. Parameters, batch statistics and the spectral iteration are float32; `dtype` is that of the
activations (None: float32, or jnp.bfloat16 on accelerators).
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.nn.cpu_convolution import convolve
from palgan_jax.nn.kept import padded

Norm = Literal["palette", "instance", "batch", "spade"]

XAVIER = nn.initializers.variance_scaling(0.02**2, "fan_avg", "normal")
"""Xavier with gain 0.02 (method: section 8)."""
HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


def scaled(channels: int, width: float) -> int:
    """The number of channels at a width multiplier: 1 is the paper's network."""
    return max(4, round(channels * width))


def leaky_relu(x: jax.Array) -> jax.Array:
    """LeakyReLU(0.2), the activation of all three networks."""
    return nn.leaky_relu(x, 0.2)


def upsample(x: jax.Array) -> jax.Array:
    """Doubles height and width bilinearly: (B, H, W, C) to (B, 2H, 2W, C).

    On a TPU as a transposed convolution of each channel, on a CPU as sums of shifted pictures: neither needs the
    intermediate picture nor the copies into other layouts that the two matrix products of `jax.image.resize` do.
    """
    return jax.lax.platform_dependent(
        x, tpu=_upsample_by_convolution, cpu=_upsample_by_sums, default=_upsample_by_products
    )


def _upsample_by_products(x: jax.Array) -> jax.Array:
    batch, height, width, channels = x.shape
    return jax.image.resize(x, (batch, 2 * height, 2 * width, channels), "linear")


def _upsample_by_convolution(x: jax.Array) -> jax.Array:
    channels = x.shape[-1]
    tent = np.array([0.25, 0.75, 0.75, 0.25])
    kernel = np.broadcast_to(np.outer(tent, tent)[..., None, None], (4, 4, 1, channels))
    # jnp.pad slices the batch too, to pad it by nothing: in the gradient, chips would send each other zeros.
    x = jnp.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
    x = jnp.concatenate([x[:, :, :1], x, x[:, :, -1:]], axis=2)
    return jax.lax.conv_general_dilated(
        x,
        jnp.asarray(kernel, x.dtype),
        (1, 1),
        ((0, 0), (0, 0)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )


@jax.custom_vjp
def _upsample_by_sums(x: jax.Array) -> jax.Array:
    height, width = x.shape[1:3]
    seen = padded(x, (0, 0), (1, 1), (1, 1), (0, 0))
    y: Any = 0.0
    for i, by_row in enumerate(_neighbours(height)):
        for j, by_column in enumerate(_neighbours(width)):
            weight = by_row[:, :, None, None, None] * by_column[:, :, None]  # (H, 2, W, 2, 1)
            y += weight * seen[:, i : i + height, None, j : j + width, None].astype(jnp.float32)
    return y.reshape(-1, 2 * height, 2 * width, x.shape[-1]).astype(x.dtype)


def _upsample_transposed(_: Any, g: jax.Array) -> tuple[jax.Array]:
    height, width = g.shape[1:3]
    seen = padded(g, (0, 0), (1, 1), (1, 1), (0, 0))
    x: Any = 0.0
    for j, by_column in enumerate(_seen_by_neighbours(width // 2)):
        for i, by_row in enumerate(_seen_by_neighbours(height // 2)):
            weight = by_row[:, None, None] * by_column[:, None]  # (H, W, 1)
            x += weight * seen[:, i : i + height : 2, j : j + width : 2].astype(jnp.float32)
    return (x.astype(g.dtype),)


_upsample_by_sums.defvjp(lambda x: (_upsample_by_sums(x), None), _upsample_transposed)


def _neighbours(size: int) -> np.ndarray:
    """(3, N, 2): what pixel n - 1, n, n + 1 counts for in pixels 2n and 2n + 1 of the doubled axis."""
    weights = np.zeros((3, size, 2), np.float32)
    weights[0, 1:, 0] = weights[2, :-1, 1] = 0.25
    weights[1] = 1 - weights[0] - weights[2]
    return weights


def _seen_by_neighbours(size: int) -> np.ndarray:
    """(4, N): what pixel n counts for in pixels 2n - 1 to 2n + 2 of the doubled axis."""
    before, own, after = _neighbours(size)
    zero = np.zeros(1, np.float32)
    return np.stack([np.append(zero, after[:-1, 1]), own[:, 0], own[:, 1], np.append(before[1:, 0], zero)])


def convolve_upsampled(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves `upsample(x)`, which is never made: x (B, H, W, C), kernel (3, 3, C, D), to (B, 2H, 2W, D), float32.

    For few D. Interpolation leaves channels alone and a tap leaves pixels alone, so the taps come first, on the small
    picture; they are interpolated and shifted to their places along one axis, summed, and so along the other.
    """
    taps = jnp.einsum("bhwc,yxcd->bhwyxd", x, kernel, preferred_element_type=jnp.float32)  # (B, H, W, 3, 3, D)
    half = jnp.einsum("vwx,bhwyxd->bhvyd", _interpolate_and_shift(x.shape[2]), taps)  # (B, H, 2W, 3, D)
    return jnp.einsum("uhy,bhvyd->buvd", _interpolate_and_shift(x.shape[1]), half)


def _interpolate_and_shift(size: int) -> np.ndarray:
    """(2N, N, 3): the weight of pixel n in pixel m + tap - 1 of the doubled axis; nothing lies beyond its ends."""
    doubled = np.arange(-1, 2 * size + 1)
    place = np.clip((doubled - 0.5) / 2, 0, size - 1)
    weight = np.maximum(1 - np.abs(place[:, None] - np.arange(size)), 0)  # (2N + 2, N)
    weight[[0, -1]] = 0
    return np.stack([weight[tap : tap + 2 * size] for tap in range(3)], axis=-1).astype(np.float32)


def resize(x: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes (B, H, W, C) to (B, height, width, C) bilinearly, antialiased where it shrinks."""
    return jax.image.resize(x, (x.shape[0], height, width, x.shape[-1]), "linear")


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
    are added.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    padding: int | None = None
    use_bias: bool = True
    spectral: bool = False
    doubled: bool = False
    kernel_init: nn.initializers.Initializer = XAVIER
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array | list[jax.Array], train: bool = False) -> jax.Array:
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

    def _convolve(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        if self.doubled:
            return convolve_upsampled(x, kernel).astype(x.dtype)
        return convolve(x, kernel, self.stride, self.kernel // 2 if self.padding is None else self.padding)


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


class PalNorm(nn.Module):
    """Normalises the features and lets the palette set their scale and shift (method: section 4).

    `kind` is "palette" (batch norm modulated by the palette, the paper's), "instance" (the same over instance norm),
    "batch" (batch norm with its own affine: the paper's row "w BN") or "spade" (batch norm modulated pixel by pixel by
    a map made of the luminance and of the palette spread over the picture: the row "w SPADE").

    Call with x (B, H, W, C), h (B, K) and the network's l (B, R, R, 1); returns (B, H, W, C).
    """

    kind: Norm = "palette"
    width: float = 1.0
    palette_scale: float = 256.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, h: jax.Array, l: jax.Array, train: bool) -> jax.Array:
        channels = x.shape[-1]
        if self.kind == "instance":
            n = nn.InstanceNorm(use_bias=False, use_scale=False, epsilon=1e-5, dtype=self.dtype)(x)
        else:
            own_affine = self.kind == "batch"
            n = nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                epsilon=1e-5,
                use_bias=own_affine,
                use_scale=own_affine,
                dtype=self.dtype,
            )(x)
        if self.kind == "batch":
            return n
        if self.kind == "spade":
            return self._spade(n, h, l)
        z = leaky_relu(Dense(scaled(256, self.width), dtype=self.dtype, name="hidden")(h * self.palette_scale))
        gamma = Dense(channels, dtype=self.dtype, name="gamma")(z)[:, None, None]  # (B, 1, 1, C)
        beta = Dense(channels, dtype=self.dtype, name="beta")(z)[:, None, None]
        return n * (1 + gamma) + beta

    def _spade(self, n: jax.Array, h: jax.Array, l: jax.Array) -> jax.Array:
        # A convolution of planes that are constant is, borders apart, a dense layer: no 257-channel map is built.
        channels = n.shape[-1]
        hidden = scaled(128, self.width)
        seen = Conv(hidden, dtype=self.dtype, name="seen")(resize(l, n.shape[1], n.shape[2]))
        spread = Dense(hidden, dtype=self.dtype, name="spread")(h * self.palette_scale)[:, None, None]
        z = leaky_relu(seen + spread)
        gamma = Conv(channels, dtype=self.dtype, name="gamma")(z)
        beta = Conv(channels, dtype=self.dtype, name="beta")(z)
        return n * (1 + gamma) + beta


class ResBlock(nn.Module):
    """The residual block of SPADE with PalNorm in its norm's place (method: section 4).

    (B, H, W, C) to (B, H, W, features).
    The first convolution has no bias: the norm behind it takes out whatever constant it would add.
    """

    features: int
    norm: nn.Module  # a PalNorm that is cloned for each place
    spectral: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, h: jax.Array, l: jax.Array, train: bool) -> jax.Array:
        def norm(name: str) -> nn.Module:
            return self.norm.clone(parent=self, name=name)

        middle = min(x.shape[-1], self.features)
        y = leaky_relu(norm("norm_0")(x, h, l, train))
        y = Conv(middle, use_bias=False, spectral=self.spectral, dtype=self.dtype, name="conv_0")(y, train)
        y = leaky_relu(norm("norm_1")(y, h, l, train))
        y = Conv(self.features, spectral=self.spectral, dtype=self.dtype, name="conv_1")(y, train)
        if x.shape[-1] == self.features:
            return x + y
        shortcut = Conv(
            self.features, 1, use_bias=False, spectral=self.spectral, dtype=self.dtype, name="conv_shortcut"
        )
        return shortcut(norm("norm_shortcut")(x, h, l, train), train) + y
