"""Depthwise convolutions as sums of shifted pictures, on all platforms.

On the CPU they take a tenth of the time of XLA's grouped convolution. Elsewhere none was measured yet, and one path is
easier to trust than two.
"""

from functools import partial

import jax
import jax.numpy as jnp


def pad_same(x: jax.Array, kernel: int, stride: int) -> jax.Array:
    """Pads (B, H, W, C) with zeros as TensorFlow's "SAME" does where the stride divides H and W.

    At stride 2 there is one row and one column more at the end than at the beginning.
    """
    padding, total = (kernel - stride) // 2, kernel - stride
    pads = (padding, total - padding)
    return jnp.pad(x, ((0, 0), pads, pads, (0, 0)))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves each channel of (B, H, W, C) with its own kernel, (k, k, 1, C): (B, H / stride, W / stride, C).

    Padding is "SAME". A sum of shifted pictures: on the CPU it takes a tenth of the time of XLA's grouped convolution,
    and so do its gradients. There are no rules for forward mode.
    """
    size = kernel.shape[0]
    return _shifted_sum(pad_same(x, size, stride), kernel, (x.shape[1] // stride, x.shape[2] // stride), stride)


def _shifted_sum(padded: jax.Array, kernel: jax.Array, sides: tuple[int, int], stride: int) -> jax.Array:
    """Convolves each channel without padding, to (B, *sides, C)."""
    rows, columns = (stride * (side - 1) + 1 for side in sides)
    total = jnp.zeros((), padded.dtype)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            total = total + padded[:, i : i + rows : stride, j : j + columns : stride] * kernel[i, j]
    return total


def _depthwise_forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return depthwise(x, kernel, stride), (x, kernel)


def _depthwise_backward(
    stride: int, residuals: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    of_x = _picture_gradient(g, kernel, (x.shape[1], x.shape[2]), stride)
    return of_x, _kernel_gradient(g, x, kernel.shape[0], stride)


def _picture_gradient(g: jax.Array, kernel: jax.Array, sides: tuple[int, int], stride: int) -> jax.Array:
    """Convolves the gradient of the result, spread out by the stride, with the kernel turned by 180 degrees."""
    size = kernel.shape[0]
    padding = (size - stride) // 2
    pads = (size - 1 - padding, stride - 1 + padding, stride - 1)
    spread = jax.lax.pad(g, jnp.zeros((), g.dtype), ((0, 0, 0), pads, pads, (0, 0, 0)))
    return _shifted_sum(spread, kernel[::-1, ::-1], sides, 1)


def _kernel_gradient(g: jax.Array, x: jax.Array, size: int, stride: int) -> jax.Array:
    """Sums the products with the shifted picture, one shift after the other: on the CPU, all at once takes longer.

    Pictures, which may lie on several devices, are added last, so that there is one sum over devices.
    """
    batch, height, width, channels = g.shape
    padded = pad_same(x, size, stride)
    window = (batch, stride * (height - 1) + 1, stride * (width - 1) + 1, channels)

    def of_tap(tap: jax.Array) -> jax.Array:
        shifted = jax.lax.dynamic_slice(padded, (0, tap // size, tap % size, 0), window)
        return jnp.sum(shifted[:, ::stride, ::stride] * g, (1, 2), dtype=jnp.float32)  # (B, C)

    taps = jnp.sum(jax.lax.map(of_tap, jnp.arange(size**2)), 1)
    return taps.reshape(size, size, 1, channels).astype(g.dtype)


depthwise.defvjp(_depthwise_forward, _depthwise_backward)
