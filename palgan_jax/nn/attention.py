"""Chromatic attention: where colours go, seen globally through S and delineated locally by the luminance."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.nn.kept import padded, windows
from palgan_jax.nn.layers import Conv, scaled

Attention = Literal["full", "global", "local", "none", "self"]
Local = Literal["guided", "guided_without_b", "affine"]

PATCH = 4
HIGHEST = jax.lax.Precision.HIGHEST


Plane = tuple[int, int]
"""The axes of height and width: (2, 3) of planes (B, C, H, W), or (1, 2) of pixels (B, H, W, C)."""
PLANES: Plane = (2, 3)
PIXELS: Plane = (1, 2)


def box_sum(x: jax.Array, radius: int, plane: Plane) -> jax.Array:
    """The sum over windows of 2 * radius + 1 pixels a side, cut at the borders. Same shape out; float32.

    Of planes as one product with a band of ones for each axis: a matrix unit does them, and nothing is written but
    their results. Of pixels as sums of shifted pictures, which suits a CPU. The map is its own transpose.
    """
    x = x.astype(jnp.float32)
    if plane == PLANES:
        height, width = x.shape[-2:]
        x = jnp.einsum("ih,bchw->bciw", _band(height, radius), x, precision=HIGHEST)
        return jnp.einsum("jw,bchw->bchj", _band(width, radius), x, precision=HIGHEST)
    x = padded(x, (0, 0), (radius, radius), (radius, radius), (0, 0))
    for axis in PIXELS:
        x = windows(x, np.ones(2 * radius + 1), axis)
    return x


def _band(size: int, radius: int) -> np.ndarray:
    place = np.arange(size)
    return (np.abs(place[:, None] - place) <= radius).astype(np.float32)


def _share(l: jax.Array, radius: int, plane: Plane) -> Any:
    """What one pixel counts for in the mean over each window, shaped as one picture of l."""
    rows, columns = (_band(l.shape[axis], radius).sum(1) for axis in plane)
    return (1 / np.outer(rows, columns)).reshape(l.shape[1:]).astype(np.float32)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def guided_filter(l: jax.Array, scale: jax.Array, x: jax.Array, radius: int, eps: float) -> jax.Array:
    """A local linear model of each channel of x in a guide, scale * l (method: section 5); float32 inside.

    l is (B, H, W, 1), x (B, H, W, C), scale (C,); returns x's shape and type. Where the guide has an edge the
    result has one, and where it is flat the result is the local mean of x. An offset of the guide would cancel against
    that of the model. All channels of the guide are made of l, and so are their means and variances: only four maps of
    full width are averaged. Its derivative is written out, because the transposes of averages are averages again, and
    one map, the covariance, is all that has to be kept for it.
    """
    return _save(l, scale, x, radius, eps)[0]


def guided_slope(l: jax.Array, scale: jax.Array, x: jax.Array, radius: int, eps: float) -> jax.Array:
    """The model's factor a of the guide, averaged: what `guided_filter` is made of, but for its b; float32."""

    def slope(plane: Plane, l: jax.Array, scale: jax.Array, x: jax.Array) -> jax.Array:
        a, *_ = _fit(plane, radius, eps, l, scale, x)
        return box_sum(a, radius, plane) * _share(l, radius, plane)

    return _in_planes_or_pixels(slope, l, scale, x)


def _in_planes_or_pixels(function: Callable[..., Any], l: jax.Array, scale: jax.Array, *xs: jax.Array) -> Any:
    """function(plane, l, scale, *xs) of pictures (B, H, W, C) and scale (C,), whose results are pictures or (C,)."""

    def planes(l: jax.Array, scale: jax.Array, *xs: jax.Array) -> Any:
        turned = [jnp.moveaxis(x, -1, 1) for x in (l, *xs)]
        results = function(PLANES, turned[0], scale[:, None, None], *turned[1:])
        return jax.tree.map(lambda y: y if y.ndim == 1 else jnp.moveaxis(y, 1, -1), results)

    return jax.lax.platform_dependent(l, scale, *xs, cpu=partial(function, PIXELS), default=planes)


def _fit(
    plane: Plane, radius: int, eps: float, l: jax.Array, scale: jax.Array, x: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The model in each window, a and b, and the covariance of l and x: each of x's shape."""
    share, mean_l, variance = _windows_of(l, radius, plane)
    mean_x = box_sum(x, radius, plane) * share
    covariance = box_sum(l * x.astype(jnp.float32), radius, plane) * share - mean_l * mean_x
    a = scale * covariance / (scale**2 * variance + eps)
    return a, mean_x - a * scale * mean_l, covariance


def _save(l: jax.Array, scale: jax.Array, x: jax.Array, radius: int, eps: float) -> tuple[jax.Array, Any]:
    def filtered(plane: Plane, l: jax.Array, scale: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        a, b, covariance = _fit(plane, radius, eps, l, scale, x)
        share = _share(l, radius, plane)
        y = share * (box_sum(a, radius, plane) * scale * l + box_sum(b, radius, plane))
        return y.astype(x.dtype), covariance.astype(x.dtype)

    y, covariance = _in_planes_or_pixels(filtered, l, scale, x)
    return y, (l, scale, x, covariance)


def _filter_transposed(radius: int, eps: float, saved: Any, dy: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    def transposed(
        plane: Plane, l: jax.Array, scale: jax.Array, x: jax.Array, covariance: jax.Array, dy: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        over_channels = partial(jnp.sum, axis=({1, 2, 3} - set(plane)).pop(), keepdims=True)

        def boxes(x: jax.Array) -> jax.Array:
            return box_sum(x, radius, plane)

        share, mean_l, variance = _windows_of(l, radius, plane)
        spread = share * dy.astype(jnp.float32)
        db = boxes(spread)
        da = scale * (boxes(l * spread) - mean_l * db)
        gain = 1 / (scale**2 * variance + eps)
        dcovariance = scale * gain * da
        back = boxes(share * dcovariance)
        dx = boxes(share * (db - mean_l * dcovariance)) + l * back
        dscale = jnp.sum(2 * eps * gain**2 * covariance * da, axis=(0, *plane))

        # Training has no use for the rest, and the compiler leaves it out.
        a = scale * gain * covariance
        dvariance = -over_channels(scale**2 * gain * a * da)
        dmean = -2 * mean_l * dvariance - over_channels(scale * a * db + boxes(x) * share * dcovariance)
        dl = over_channels(spread * scale * boxes(a) + x * back)
        dl += 2 * l * boxes(share * dvariance) + boxes(share * dmean)
        return dl.astype(l.dtype), dscale, dx.astype(dy.dtype)

    l, scale, x, covariance = saved
    return _in_planes_or_pixels(transposed, l, scale, x, covariance, dy)


def _windows_of(l: jax.Array, radius: int, plane: Plane) -> tuple[Any, jax.Array, jax.Array]:
    share = _share(l, radius, plane)
    mean = box_sum(l, radius, plane) * share
    return share, mean, box_sum(l * l, radius, plane) * share - mean**2


guided_filter.defvjp(_save, _filter_transposed)


def cut_patches(x: jax.Array) -> jax.Array:
    """Cuts (B, H, W, C) into patches that do not overlap: (B, N, PATCH * PATCH * C), N in rows of W / PATCH."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // PATCH, PATCH, width // PATCH, PATCH, channels)
    return x.swapaxes(2, 3).reshape(batch, -1, PATCH * PATCH * channels)


def fold_patches(patches: jax.Array, height: int, width: int) -> jax.Array:
    """The inverse of `cut_patches`: (B, N, PATCH * PATCH * C) to (B, height, width, C)."""
    batch = patches.shape[0]
    x = patches.reshape(batch, height // PATCH, width // PATCH, PATCH, PATCH, -1)
    return x.swapaxes(2, 3).reshape(batch, height, width, -1)


def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """softmax(q k^T / sqrt(C)) v for q, k (B, N, C) and v (B, N, D); the softmax in float32. Returns (B, N, D)."""
    scores = jnp.einsum("bnc,bmc->bnm", q, k, preferred_element_type=jnp.float32)  # (B, N, N)
    weights = nn.softmax(scores / np.sqrt(q.shape[-1]).astype(np.float32), axis=-1)
    return jnp.einsum("bnm,bmd->bnd", weights.astype(v.dtype), v)


class ChromaticAttention(nn.Module):
    """Mixes F by what S holds to be alike, and by the edges of the luminance (method: section 5).

    Call with S (B, H/4, W/4, Cs), F (B, H, W, Cf) and l (B, H, W, 1); returns (B, H, W, Cf).

    `attention`: "full" (the paper's), "global" or "local" (that branch alone), "none" (F as it is), or "self" (plain
    self-attention of F: queries and keys of its patches' means, residual with a gain that starts at 0; row "w SA").
    `local`: "guided", "guided_without_b", or "affine" (a and b are learned: a 3 x 3 convolution of f~ and l~).
    """

    attention: Attention = "full"
    local: Local = "guided"
    width: float = 1.0
    radius: int = 4
    eps: float = 1e-3
    spectral: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, s: jax.Array, f: jax.Array, l: jax.Array, train: bool) -> jax.Array:
        if self.attention == "none":
            return f
        channels, size = f.shape[-1], scaled(64, self.width)
        height, width = f.shape[1:3]

        def conv(name: str, features: int = size, kernel: int = 1, dtype: Any = self.dtype) -> Conv:
            return Conv(features, kernel, spectral=self.spectral, dtype=dtype, name=name)

        value = conv("value")(f, train)  # (B, H, W, size)
        if self.attention == "self":
            s = nn.avg_pool(f, (PATCH, PATCH), (PATCH, PATCH))
        branches = []
        if self.attention != "local":
            q, k = (conv(name)(s, train).reshape(s.shape[0], -1, size) for name in ("query", "key"))  # (B, N, size)
            branches.append(fold_patches(attend(q, k, cut_patches(value)), height, width))
        if self.attention == "self":
            gain = self.param("gain", nn.initializers.zeros, ())
            return f + gain.astype(f.dtype) * conv("fusion", channels)(branches[0], train)
        if self.attention != "global":
            branches.append(self._delineate(l, value, conv, train).astype(value.dtype))
        return conv("fusion", channels)(branches, train)  # (B, H, W, Cf)

    def _delineate(self, l: jax.Array, value: jax.Array, conv, train: bool) -> jax.Array:
        if self.local == "affine":
            guide = conv("guide")(l, train)
            both = conv("affine", 2 * guide.shape[-1], 3)([value, guide], train)
            a, b = jnp.split(both, 2, axis=-1)
            return a * guide + b
        # The guide is a convolution of one channel with one pixel: its values at 0 and at 1 say it all.
        two = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
        offset, one = conv("guide", dtype=None)(two, train)[0, 0]  # (size,) each
        scale = one - offset
        if self.local == "guided":
            return guided_filter(l, scale, value, self.radius, self.eps)
        return guided_slope(l, scale, value, self.radius, self.eps) * (scale * l + offset)
