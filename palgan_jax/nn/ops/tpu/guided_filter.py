"""The guided filter as one kernel of a TPU: maps are averaged where they are, and only pictures cross its memory."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.sharding import Mesh

from palgan_jax.nn.ops.columns import Columns, Picture, pack, packed_columns, stored, unpack
from palgan_jax.nn.ops.local_regression import HIGHEST, Boxes, band, filtered, pulled_back, regress, share
from palgan_jax.nn.ops.tpu.kernel import has_room, kernel, laid_as_by_convolutions, on_each_chip, tiled

CHANNELS = 16
"""Channels for each point of the grid: 16 values of two bytes fill a tile."""


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def guided_filter(l: jax.Array, scale: jax.Array, x: Picture, radius: int, eps: float, mesh: Mesh) -> Picture:
    """Computes nn/ops/guided_filter.py's on a mesh of TPUs: l (B, H, W, 1), scale (C,), x (B, H, W, C)."""
    return _save(l, scale, x, radius, eps, mesh)[0]


def fits(x: Picture, radius: int, mesh: Mesh) -> bool:
    """Returns whether each chip has its own pictures, and room for some channels of one."""
    batch, height, width, channels = x.shape
    line = tiled(_some_channels(channels), 16) * tiled(height, 128)
    maps = 9 * 4 * line * (width + 2 * radius)
    pictures = 2 * 3 * x.dtype.itemsize * line * width  # arguments and results, while the next ones are moved
    return has_room(mesh, batch, maps + pictures)


def _some_channels(channels: int) -> int:
    return CHANNELS if channels % CHANNELS == 0 else channels


def _save(l: jax.Array, scale: jax.Array, x: Picture, radius: int, eps: float, mesh: Mesh) -> tuple[Picture, Any]:
    (y,) = _run(_filter, radius, eps, mesh, _turned(l), scale, _turned(x))
    return _turned_back(y, packed_columns(x)), (l, scale, x)


def _pull_back(
    radius: int, eps: float, mesh: Mesh, residuals: Any, dy: Picture
) -> tuple[jax.Array, jax.Array, Picture]:
    l, scale, x = residuals
    dx, dscale = _run(_pull, radius, eps, mesh, _turned(l), scale, _turned(x), _turned(dy))
    # Training has no use for the gradient of l, and the compiler leaves it out.
    _, of_l = jax.vjp(lambda l: pack(regress(l, scale, unpack(x), radius, eps), packed_columns(x)), l)
    dx = jax.tree.map(lambda array: laid_as_by_convolutions(array, mesh), _turned_back(dx, packed_columns(x)))
    return *of_l(dy), dscale.sum((0, 2)), dx


guided_filter.defvjp(_save, _pull_back)


def _turned(x: Picture) -> jax.Array:
    """Turns a picture (B, H, W, C) to (B, W, C, H), from packed columns too: the order that a TPU reaches soonest."""
    batch, height, width, channels = x.shape
    n = packed_columns(x)
    array = stored(x).reshape(batch, height, width // n, n, channels).transpose(0, 2, 3, 4, 1)
    return array.reshape(batch, width, channels, height)


def _turned_back(x: jax.Array, n: int) -> Picture:
    """Inverts `_turned`, with n columns packed."""
    batch, width, channels, height = x.shape
    x = x.reshape(batch, width // n, n, channels, height).transpose(0, 4, 1, 2, 3)
    x = x.reshape(batch, height, width // n, n * channels)
    return x if n == 1 else Columns(x, n)


def _run(
    body: Callable[..., None], radius: int, eps: float, mesh: Mesh, l: jax.Array, scale: jax.Array, *xs: jax.Array
) -> Any:
    """Runs a kernel on pictures (B, W, C, H), some channels of one picture at a time; returns its results."""
    _, width, channels, height = xs[0].shape
    group = _some_channels(channels)
    picture = pl.BlockSpec((1, width, group, height), lambda b, c: (b, 0, c, 0))
    places = {
        "l": pl.BlockSpec((1, width, 1, height), lambda b, c: (b, 0, 0, 0)),
        "scale": pl.BlockSpec((group, 1), lambda b, c: (c, 0)),
        "shares": pl.BlockSpec((width, 1, height), lambda b, c: (0, 0, 0)),
        "ones": pl.BlockSpec((height, height), lambda b, c: (0, 0)),
        "sums": pl.BlockSpec((1, group, height), lambda b, c: (b, c, 0)),
    }
    kinds = [picture, places["sums"]][: len(xs)]  # of results

    def on_a_chip(l: jax.Array, *arguments: jax.Array) -> Any:
        x = arguments[0]
        sums = jax.ShapeDtypeStruct((len(x), channels, height), jnp.float32)
        results = [jax.ShapeDtypeStruct(x.shape, x.dtype), sums][: len(xs)]
        boxes = 4 if len(xs) == 1 else 6
        cost = pl.CostEstimate(
            flops=boxes * 2 * x.size * height, transcendentals=0,
            bytes_accessed=sum(a.size * a.dtype.itemsize for a in (l, *arguments, *results)),
        )  # fmt: skip
        return kernel(
            partial(body, radius, eps), mesh, grid=(len(x), channels // group),
            in_specs=[places["l"], *[picture] * len(xs), *(places[name] for name in ("scale", "shares", "ones"))],
            out_specs=kinds, out_shape=results, cost_estimate=cost,
        )(l, *arguments)  # fmt: skip

    shared = (scale[:, None], share(height, width, radius).T[:, None], band(height, radius))
    return on_each_chip(mesh, on_a_chip, l, *xs, shared=tuple(map(jnp.asarray, shared)))


def _filter(radius: int, eps: float, l: Any, x: Any, scale: Any, shares: Any, ones: Any, y: Any) -> None:
    filtered_x, _ = filtered(_boxes(radius, shares, ones), eps, l[...], scale[...], x[...].astype(jnp.float32))
    y[...] = filtered_x.astype(y.dtype)


def _pull(
    radius: int, eps: float, l: Any, x: Any, dy: Any, scale: Any, shares: Any, ones: Any, dx: Any, dscale: Any
) -> None:
    xs = (x[...].astype(jnp.float32), dy[...].astype(jnp.float32))
    of_x, of_scale, _ = pulled_back(_boxes(radius, shares, ones), eps, l[...], scale[...], *xs)
    dx[...] = of_x.astype(dx.dtype)
    dscale[...] = of_scale.sum(1)


def _boxes(radius: int, shares: Any, ones: Any) -> Boxes:
    """Windows of (1, W, C, H): along the height a product, and sums of shifted maps along the width."""

    def box_sum(x: jax.Array) -> jax.Array:
        _, width, channels, height = x.shape
        x = jnp.dot(x.reshape(-1, height), ones[...], precision=HIGHEST, preferred_element_type=jnp.float32)
        x = x.reshape(width, channels, height)
        if radius:
            edge = jnp.zeros((radius, channels, height), jnp.float32)
            x = jnp.concatenate([edge, x, edge])
        return sum((x[i : i + width] for i in range(1, 2 * radius + 1)), x[:width])[None]

    return Boxes(box_sum, shares[...], 2)
