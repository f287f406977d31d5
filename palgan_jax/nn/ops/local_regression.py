"""Local linear regression of a picture on another, the guide: the mathematics of the guided filter (He et al., 2010).

With S the sum over the window around a pixel, w one over the pixels in it, m[x] = w S x the mean, and a guide s l, the
regression of x in each window and the filter are

    v = m[l^2] - m[l]^2,  c = m[l x] - m[l] m[x]       variance of l, covariance of l and x
    a = s c g,  g = 1 / (s^2 v + eps)                  slope
    b = m[x] - a s m[l]                                intercept
    y = m[a] s l + m[b]

S is its own transpose, so that the gradients, for a gradient dy of y, are averages again:

    db = S(w dy),  da = s (S(w l dy) - m[l] db),  dc = s g da
    dx = S(w (db - m[l] dc)) + l S(w dc)
    ds = sum of 2 eps g^2 c da
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.nn.ops.cpu.noinline import correlate, padded

HIGHEST = jax.lax.Precision.HIGHEST

Plane = tuple[int, int]
"""The axes of height and width: (2, 3) of planes (B, C, H, W), or (1, 2) of pixels (B, H, W, C)."""
PLANES: Plane = (2, 3)
PIXELS: Plane = (1, 2)


def box_sum(x: jax.Array, radius: int, plane: Plane) -> jax.Array:
    """Computes the sum over windows of 2 * radius + 1 pixels a side, cut at the borders. Same shape; float32.

    Planes take one product with a band of ones for each axis, which suits a matrix unit; pixels sums of shifted
    pictures, which suits a CPU.
    """
    x = x.astype(jnp.float32)
    if plane == PLANES:
        height, width = x.shape[-2:]
        x = jnp.einsum("ih,bchw->bciw", band(height, radius), x, precision=HIGHEST)
        return jnp.einsum("jw,bchw->bchj", band(width, radius), x, precision=HIGHEST)
    x = padded(x, (0, 0), (radius, radius), (radius, radius), (0, 0))
    for axis in PIXELS:
        x = correlate(x, np.ones(2 * radius + 1), axis)
    return x


def band(size: int, radius: int) -> np.ndarray:
    """Returns (N, N): 1 where two pixels of an axis lie no further apart than the radius, else 0."""
    place = np.arange(size)
    return (np.abs(place[:, None] - place) <= radius).astype(np.float32)


def share(height: int, width: int, radius: int) -> np.ndarray:
    """Returns w (H, W): one over the number of pixels in the window around each pixel."""
    rows, columns = (band(size, radius).sum(1) for size in (height, width))
    return (1 / np.outer(rows, columns)).astype(np.float32)


@dataclass(frozen=True)
class Boxes:
    """The windows of pictures with axes in some order, of which the first is the batch.

    Attributes:
      sum: S, the sum over the window around each pixel, float32.
      share: w, one over the pixels of each window; broadcasts against l.
      channel: the axis of channels.
    """

    sum: Callable[[jax.Array], jax.Array]
    share: Any
    channel: int

    def over_channels(self, x: jax.Array) -> jax.Array:
        """Sums over channels, whose axis stays."""
        return jnp.sum(x, self.channel, keepdims=True)


def _boxes(plane: Plane, l: jax.Array, radius: int) -> Boxes:
    height, width = (l.shape[axis] for axis in plane)
    (channel,) = {1, 2, 3} - set(plane)
    return Boxes(
        partial(box_sum, radius=radius, plane=plane), np.expand_dims(share(height, width, radius), channel - 1), channel
    )


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def regress(l: jax.Array, scale: jax.Array, x: jax.Array, radius: int, eps: float) -> jax.Array:
    """Filters each channel of x with the guide scale * l; float32 inside.

    l is (B, H, W, 1), x (B, H, W, C), scale (C,); returns x's shape and type. Since all channels of the guide are made
    of l, so are their means and variances, and only four maps of full width are averaged. Of these, the derivative
    needs no more than the covariance.
    """
    return _save(l, scale, x, radius, eps)[0]


def regression_slope(l: jax.Array, scale: jax.Array, x: jax.Array, radius: int, eps: float) -> jax.Array:
    """Computes m[a], the averaged slope, as `regress` has it: (B, H, W, C), float32."""

    def slope(plane: Plane, l: jax.Array, scale: jax.Array, x: jax.Array) -> jax.Array:
        boxes = _boxes(plane, l, radius)
        a, *_ = _fit(boxes, eps, l, scale, x)
        return boxes.sum(a) * boxes.share

    return _in_planes_or_pixels(slope, l, scale, x)


def _in_planes_or_pixels(function: Callable[..., Any], l: jax.Array, scale: jax.Array, *xs: jax.Array) -> Any:
    """Calls function(plane, l, scale, *xs) on pictures (B, H, W, C) and scale (C,); its results are such or (C,)."""

    def planes(l: jax.Array, scale: jax.Array, *xs: jax.Array) -> Any:
        in_planes = [jnp.moveaxis(x, -1, 1) for x in (l, *xs)]
        results = function(PLANES, in_planes[0], scale[:, None, None], *in_planes[1:])
        return jax.tree.map(lambda y: y if y.ndim == 1 else jnp.moveaxis(y, 1, -1), results)

    return jax.lax.platform_dependent(l, scale, *xs, cpu=partial(function, PIXELS), default=planes)


def filtered(boxes: Boxes, eps: float, l: jax.Array, scale: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes y and c, of x's shape, float32; scale broadcasts against x."""
    a, b, covariance = _fit(boxes, eps, l, scale, x)
    return boxes.share * (boxes.sum(a) * scale * l + boxes.sum(b)), covariance


def _fit(
    boxes: Boxes, eps: float, l: jax.Array, scale: jax.Array, x: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Computes a, b and c, each of x's shape."""
    mean_l, variance = _guide(boxes, l)
    mean_x, covariance = _against_guide(boxes, l, mean_l, x)
    a = scale * covariance / (scale**2 * variance + eps)
    return a, mean_x - a * scale * mean_l, covariance


def _guide(boxes: Boxes, l: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes m[l] and v."""
    mean = boxes.sum(l) * boxes.share
    return mean, boxes.sum(l * l) * boxes.share - mean**2


def _against_guide(boxes: Boxes, l: jax.Array, mean_l: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes m[x] and c."""
    mean_x = boxes.sum(x) * boxes.share
    return mean_x, boxes.sum(l * x.astype(jnp.float32)) * boxes.share - mean_l * mean_x


def pulled_back(
    boxes: Boxes, eps: float, l: jax.Array, scale: jax.Array, x: jax.Array, dy: jax.Array, covariance: Any = None
) -> tuple[jax.Array, jax.Array, Callable[[], jax.Array]]:
    """Computes the gradients (dx, ds, dl) of `filtered`, by the formulas above, of x's shape and float32.

    ds is not summed over pictures and pixels yet. dl is a function that computes it, of l's shape, since training does
    not need it. The covariance is computed anew if it is not passed.
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
    def value_and_covariance(plane: Plane, l: jax.Array, scale: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, covariance = filtered(_boxes(plane, l, radius), eps, l, scale, x)
        return y.astype(x.dtype), covariance.astype(x.dtype)

    y, covariance = _in_planes_or_pixels(value_and_covariance, l, scale, x)
    return y, (l, scale, x, covariance)


def _pull_back(radius: int, eps: float, residuals: Any, dy: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    def gradients(
        plane: Plane, l: jax.Array, scale: jax.Array, x: jax.Array, covariance: jax.Array, dy: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        boxes = _boxes(plane, l, radius)
        dx, dscale, dl = pulled_back(boxes, eps, l, scale, x, dy, covariance)
        return dl().astype(l.dtype), jnp.sum(dscale, (0, *plane)), dx.astype(dy.dtype)

    l, scale, x, covariance = residuals
    return _in_planes_or_pixels(gradients, l, scale, x, covariance, dy)


regress.defvjp(_save, _pull_back)
