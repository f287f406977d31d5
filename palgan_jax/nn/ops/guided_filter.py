"""The guided filter: a picture as a local linear model of another, the guide (method: section 5)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.nn.ops.cpu.noinline import padded, windows

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
        x = jnp.einsum("ih,bchw->bciw", band(height, radius), x, precision=HIGHEST)
        return jnp.einsum("jw,bchw->bchj", band(width, radius), x, precision=HIGHEST)
    x = padded(x, (0, 0), (radius, radius), (radius, radius), (0, 0))
    for axis in PIXELS:
        x = windows(x, np.ones(2 * radius + 1), axis)
    return x


def band(size: int, radius: int) -> np.ndarray:
    """(N, N): 1 where two pixels of an axis lie no further apart than the radius, else 0."""
    place = np.arange(size)
    return (np.abs(place[:, None] - place) <= radius).astype(np.float32)


def share(height: int, width: int, radius: int) -> np.ndarray:
    """(H, W): what one pixel counts for in the mean over the window around each."""
    rows, columns = (band(size, radius).sum(1) for size in (height, width))
    return (1 / np.outer(rows, columns)).astype(np.float32)


@dataclass(frozen=True)
class Boxes:
    """Windows of pictures with axes in some order, of which the first is the batch.

    Attributes:
      sum: the sum over the window around each pixel, float32.
      share: what a pixel counts for in the mean over each window; broadcasts against l.
      channel: the axis of channels.
    """

    sum: Callable[[jax.Array], jax.Array]
    share: Any
    channel: int

    def over_channels(self, x: jax.Array) -> jax.Array:
        """The sum over channels, whose axis stays."""
        return jnp.sum(x, self.channel, keepdims=True)


def _boxes(plane: Plane, l: jax.Array, radius: int) -> Boxes:
    height, width = (l.shape[axis] for axis in plane)
    (channel,) = {1, 2, 3} - set(plane)
    return Boxes(
        partial(box_sum, radius=radius, plane=plane), np.expand_dims(share(height, width, radius), channel - 1), channel
    )


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
        boxes = _boxes(plane, l, radius)
        a, *_ = _fit(boxes, eps, l, scale, x)
        return boxes.sum(a) * boxes.share

    return _in_planes_or_pixels(slope, l, scale, x)


def _in_planes_or_pixels(function: Callable[..., Any], l: jax.Array, scale: jax.Array, *xs: jax.Array) -> Any:
    """function(plane, l, scale, *xs) of pictures (B, H, W, C) and scale (C,), whose results are pictures or (C,)."""

    def planes(l: jax.Array, scale: jax.Array, *xs: jax.Array) -> Any:
        turned = [jnp.moveaxis(x, -1, 1) for x in (l, *xs)]
        results = function(PLANES, turned[0], scale[:, None, None], *turned[1:])
        return jax.tree.map(lambda y: y if y.ndim == 1 else jnp.moveaxis(y, 1, -1), results)

    return jax.lax.platform_dependent(l, scale, *xs, cpu=partial(function, PIXELS), default=planes)


def filtered(boxes: Boxes, eps: float, l: jax.Array, scale: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The filter of x, and the covariance of l and x that it found: x's shape, float32; scale broadcasts against x."""
    a, b, covariance = _fit(boxes, eps, l, scale, x)
    return boxes.share * (boxes.sum(a) * scale * l + boxes.sum(b)), covariance


def _fit(
    boxes: Boxes, eps: float, l: jax.Array, scale: jax.Array, x: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The model in each window, a and b, and the covariance of l and x: each of x's shape."""
    mean_l, variance = _guide(boxes, l)
    mean_x, covariance = _against_guide(boxes, l, mean_l, x)
    a = scale * covariance / (scale**2 * variance + eps)
    return a, mean_x - a * scale * mean_l, covariance


def _guide(boxes: Boxes, l: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of l in each window."""
    mean = boxes.sum(l) * boxes.share
    return mean, boxes.sum(l * l) * boxes.share - mean**2


def _against_guide(boxes: Boxes, l: jax.Array, mean_l: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean of x and its covariance with l in each window."""
    mean_x = boxes.sum(x) * boxes.share
    return mean_x, boxes.sum(l * x.astype(jnp.float32)) * boxes.share - mean_l * mean_x


def pulled_back(
    boxes: Boxes, eps: float, l: jax.Array, scale: jax.Array, x: jax.Array, dy: jax.Array, covariance: Any = None
) -> tuple[jax.Array, jax.Array, Callable[[], jax.Array]]:
    """The gradients of `filtered`: (of x, of scale before it is summed over pictures and pixels, of l on request).

    The covariance is computed anew where it is not given. The last gradient is a function, since training has no use
    for it.
    """
    mean_l, variance = _guide(boxes, l)
    if covariance is None:
        _, covariance = _against_guide(boxes, l, mean_l, x)
    spread = boxes.share * dy.astype(jnp.float32)
    db = boxes.sum(spread)
    da = scale * (boxes.sum(l * spread) - mean_l * db)
    gain = 1 / (scale**2 * variance + eps)
    dcovariance = scale * gain * da
    back = boxes.sum(boxes.share * dcovariance)
    dx = boxes.sum(boxes.share * (db - mean_l * dcovariance)) + l * back
    dscale = 2 * eps * gain**2 * covariance * da

    def dl() -> jax.Array:
        a = scale * gain * covariance
        dvariance = -boxes.over_channels(scale**2 * gain * a * da)
        dmean = -2 * mean_l * dvariance
        dmean -= boxes.over_channels(scale * a * db + boxes.sum(x) * boxes.share * dcovariance)
        dl = boxes.over_channels(spread * scale * boxes.sum(a) + x * back)
        return dl + 2 * l * boxes.sum(boxes.share * dvariance) + boxes.sum(boxes.share * dmean)

    return dx, dscale, dl


def _save(l: jax.Array, scale: jax.Array, x: jax.Array, radius: int, eps: float) -> tuple[jax.Array, Any]:
    def both(plane: Plane, l: jax.Array, scale: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, covariance = filtered(_boxes(plane, l, radius), eps, l, scale, x)
        return y.astype(x.dtype), covariance.astype(x.dtype)

    y, covariance = _in_planes_or_pixels(both, l, scale, x)
    return y, (l, scale, x, covariance)


def _pull_back(radius: int, eps: float, saved: Any, dy: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    def gradients(
        plane: Plane, l: jax.Array, scale: jax.Array, x: jax.Array, covariance: jax.Array, dy: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        boxes = _boxes(plane, l, radius)
        dx, dscale, dl = pulled_back(boxes, eps, l, scale, x, dy, covariance)
        return dl().astype(l.dtype), jnp.sum(dscale, (0, *plane)), dx.astype(dy.dtype)

    l, scale, x, covariance = saved
    return _in_planes_or_pixels(gradients, l, scale, x, covariance, dy)


guided_filter.defvjp(_save, _pull_back)
