"""Convolutions, by the way that is fast on each platform."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import mlir

from palgan_jax.nn.ops.columns import Columns, Picture, convolve_columns
from palgan_jax.nn.ops.cpu import winograd


def convolve(
    x: Picture, kernel: jax.Array, stride: int, padding: int | tuple[int, int], columns: int | None = None
) -> Picture:
    """Convolves x (B, H, W, C) with a kernel (k, l, C, D): (B, H', W', D), packed by `columns`, or as x is.

    float32 is computed as matrix products on the CPU, where that is faster, in both directions (cpu/winograd.py);
    packed pictures with a larger kernel (columns.py); and everything else by XLA. There are no rules for forward mode
    and `vmap`.
    """
    if isinstance(padding, int):
        if isinstance(x, Columns) or (columns or 1) > 1:
            return convolve_columns(x, kernel, stride, padding, columns)
        padding = (padding, padding)
    if x.dtype == jnp.float32 and winograd.is_faster(x.shape, kernel.shape, stride, padding):
        precision = jax.config.jax_default_matmul_precision  # type: ignore[reportAttributeAccessIssue]
        return _convolve(x, kernel, (("stride", stride), ("padding", padding), ("precision", precision)))
    return _plain(x, kernel, stride=stride, padding=padding)


def _plain(x: jax.Array, kernel: jax.Array, *, stride: int, padding: tuple[int, int]) -> jax.Array:
    pads = [(pad, pad) for pad in padding]
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _xla_kernel_gradient(g: jax.Array, x: jax.Array, kernel: jax.Array, **geometry: Any) -> jax.Array:
    return jax.linear_transpose(lambda kernel: _plain(x, kernel, **geometry), kernel)(g)[0]


def _xla_picture_gradient(g: jax.Array, x: jax.Array, kernel: jax.Array, **geometry: Any) -> jax.Array:
    return jax.linear_transpose(lambda x: _plain(x, kernel, **geometry), x)(g)[0]


def _cpu_forward(x: jax.Array, kernel: jax.Array, *, stride: int, padding: tuple[int, int]) -> jax.Array:
    return winograd.forward(x, kernel, stride, padding)


def _cpu_picture_gradient(g: jax.Array, x: jax.Array, kernel: jax.Array, **geometry: Any) -> jax.Array:
    if geometry["stride"] > 1:
        return _xla_picture_gradient(g, x, kernel, **geometry)
    return winograd.picture_gradient(g, kernel)


def _cpu_kernel_gradient(g: jax.Array, x: jax.Array, kernel: jax.Array, **geometry: Any) -> jax.Array:
    if geometry["stride"] > 1 or not winograd.is_kernel_gradient_faster(kernel.shape):
        return _xla_kernel_gradient(g, x, kernel, **geometry)
    return winograd.kernel_gradient(g, x, kernel)


def _lowered_by_platform(name: str, xla: Callable[..., jax.Array], cpu: Callable[..., jax.Array]) -> Callable[..., Any]:
    """Returns a function that is `cpu` in programs for the CPU, and for all other devices `xla`, as if called directly.

    jax.lax.platform_dependent would leave a conditional in the programs of the others. `precision` is the default of
    products where the function is called, which is not where it is lowered.
    """
    primitive = Primitive(name)
    primitive.def_impl(jax.jit(primitive.bind, static_argnames=("stride", "padding", "precision")))

    def shape(*arguments: Any, precision: str | None, **geometry: Any) -> Any:
        result = jax.eval_shape(partial(xla, **geometry), *arguments)
        return ShapedArray(result.shape, result.dtype)

    def lowering(function: Callable[..., jax.Array]) -> Any:
        def run(*arguments: jax.Array, precision: str | None, **geometry: Any) -> jax.Array:
            with jax.default_matmul_precision(precision):
                return function(*arguments, **geometry)

        return mlir.lower_fun(run, multiple_results=False)

    primitive.def_abstract_eval(shape)
    mlir.register_lowering(primitive, lowering(xla))
    mlir.register_lowering(primitive, lowering(cpu), platform="cpu")
    return primitive.bind


_forward = _lowered_by_platform("convolution", _plain, _cpu_forward)
_kernel_gradient = _lowered_by_platform("convolution_kernel_gradient", _xla_kernel_gradient, _cpu_kernel_gradient)
_picture_gradient = _lowered_by_platform("convolution_picture_gradient", _xla_picture_gradient, _cpu_picture_gradient)

Settings = tuple[tuple[str, Any], ...]
Pair = tuple[jax.Array, jax.Array]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, kernel: jax.Array, settings: Settings) -> jax.Array:
    return _forward(x, kernel, **dict(settings))


def _save(x: jax.Array, kernel: jax.Array, settings: Settings) -> tuple[jax.Array, Pair]:
    return _forward(x, kernel, **dict(settings)), (x, kernel)


def _cotangents(settings: Settings, residuals: Pair, g: jax.Array) -> Pair:
    by_kernel = _kernel_gradient(g, *residuals, **dict(settings))
    return _picture_gradient(g, *residuals, **dict(settings)), by_kernel


_convolve.defvjp(_save, _cotangents)
