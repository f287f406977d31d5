"""A picture's luminance and its joining with predicted color (method: section 9).

The contract of the module: pictures are sRGB (H, W, 3) on the host, of levels uint8 or uint16, L is float32 (H, W) in
[0, 100], ab is float32 (h, w, 2) in Lab units. Work goes over the picture in bands of rows, so that a large picture
needs little more memory than itself, and in pieces of one fixed size, so that each function is compiled once whatever
the picture.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from palgan_jax.color import (
    LIGHT_OF_RGB,
    RGB_FROM_WHITE_XYZ,
    expand,
    gamut_share,
    lab_to_rgb,
    light_to_lightness,
    rgb_to_bytes,
    srgb_to_linear,
)
from palgan_jax.colorize.edges import along_edges
from palgan_jax.data.levels import to_bytes
from palgan_jax.data.picture import Picture
from palgan_jax.util.threads import available_cores

_PIECE = 1 << 16  # pixels
_ONE_THREAD = 1 << 17  # multiplications of a product that OpenBLAS leaves to one thread: the others have other work
_GAP = 3.0  # how many times larger than the result the means of blocks are, which interpolation makes it of
_DARK = 0.009  # L is a cube root of light above this, and linear in it near black
_IN_GAMUT = 1e-4  # how far outside [0, 1] an sRGB value still counts as inside: about a 40th of an 8-bit step
_along_edges = jax.jit(along_edges)


def _levels(rgb: jax.Array, deep: bool) -> jax.Array:
    """Rounds sRGB to levels, clamped: uint8, or uint16 where `deep`."""
    return jnp.round(jnp.clip(rgb, 0, 1) * 65535).astype(jnp.uint16) if deep else rgb_to_bytes(rgb)


@jax.jit
def _to_rgb(lab: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Converts Lab (..., 3) to sRGB bytes (..., 3), clamped, and tells which colors are inside the gamut (...)."""
    rgb = lab_to_rgb(lab)
    return rgb_to_bytes(rgb), jnp.all((rgb >= -_IN_GAMUT) & (rgb <= 1 + _IN_GAMUT), axis=-1)


@partial(jax.jit, static_argnames="deep")
def _to_rgb_in_gamut(lab: jax.Array, deep: bool = False) -> jax.Array:
    """Converts Lab (..., 3) to the nearest sRGB levels in gamut of its L and hue, by its chroma."""
    share = gamut_share(lab)[..., None]
    return _levels(lab_to_rgb(jnp.concatenate([lab[..., :1], lab[..., 1:] * share], axis=-1)), deep)


def lab_to_bytes(lab: jax.Array) -> jax.Array:
    """Converts Lab (..., 3) to sRGB bytes (..., 3) of its luminance, as `colors_to_levels`, within a program of JAX."""
    rgb, inside = _to_rgb(lab)
    return jnp.where(inside[..., None], rgb, _to_rgb_in_gamut(lab))


def _in_pieces(function: Callable, pixels: np.ndarray) -> list:
    """Calls `function` with pieces of exactly _PIECE pixels of (N, C), the last one padded; the results on the host."""
    results = []
    for start in range(0, len(pixels), _PIECE):
        piece = pixels[start : start + _PIECE]
        count = len(piece)
        result = function(np.pad(piece, ((0, _PIECE - count), (0, 0))) if count < _PIECE else piece)
        results.append(jax.tree.map(lambda x, count=count: np.asarray(x)[:count], result))
    return results


def _bands(height: int, width: int) -> list[tuple[int, int]]:
    """Returns the (first, last + 1) rows of bands of a picture, of at most _PIECE pixels each, and at least a row."""
    rows = max(1, _PIECE // width)
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Returns the L (H, W) in [0, 100] of a picture, gray (H, W) or (H, W, 3), uint8 or uint16."""
    height, width = rgb.shape[:2]
    red, green, blue = light = _light_of_levels(np.iinfo(rgb.dtype).max)
    if rgb.ndim == 2:
        return light_to_lightness(light.sum(axis=0))[rgb]
    result = np.empty((height, width), np.float32)
    gray = light.sum(axis=0)

    def convert(first: int, last: int) -> None:
        for top, bottom in _bands(last - first, width):
            band, l = rgb[first + top : first + bottom], result[first + top : first + bottom]
            levels = [np.ascontiguousarray(band[..., i]) for i in range(3)]
            if np.array_equal(levels[0], levels[1]) and np.array_equal(
                levels[1], levels[2]
            ):  # as most that are colorized
                y = gray[levels[1]]
            else:
                y = red[levels[0]]
                y += green[levels[1]]
                y += blue[levels[2]]
            np.cbrt(y, out=l)
            l *= 116
            l -= 16
            dark = np.flatnonzero(y < _DARK)  # few pixels, at which L is linear
            l.reshape(-1)[dark] = light_to_lightness(y.reshape(-1)[dark])

    _on_all_cores(convert, height, width)
    return result


def _on_all_cores(work: Callable[[int, int], None], height: int, width: int) -> None:
    """Calls work(first, last + 1) for parts of a picture's rows, at the same time on as many cores as there are."""
    parts = min(available_cores(), height * width // (4 * _PIECE))
    if parts < 2:
        work(0, height)
        return
    ends = [height * i // parts for i in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(work, ends[:-1], ends[1:]))


@cache
def _light_of_levels(top: int) -> np.ndarray:
    """Returns what each level of R, G and B, 0 to `top`, adds to the luminance Y: float32 (3, top + 1)."""
    linear = srgb_to_linear(np.arange(top + 1, dtype=np.float32) / top)
    return (LIGHT_OF_RGB[:, None] * linear).astype(np.float32)


def squash(luminance: np.ndarray, size: int) -> np.ndarray:
    """Resizes L (H, W) to (size, size), whatever its shape, by antialiased bilinear interpolation."""
    return shrink(luminance, size, size)


def shrink(luminance: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes L (H, W) to (height, width) by antialiased bilinear interpolation, of large ones by means of blocks."""
    resized = Image.fromarray(luminance).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=_GAP)
    return np.asarray(resized, np.float32)


@partial(jax.jit, static_argnames="deep")
def _planes_to_rgb(l: jax.Array, a: jax.Array, b: jax.Array, deep: bool) -> tuple[jax.Array, ...]:
    """Does what `_to_rgb` does with planes (N,) each: R, G, B and whether each color is inside the gamut.

    Three times as fast on CPUs, which neither multiply by small matrices well nor compute powers fast.
    """
    fy = (l + 16) / 116
    fx, fz = fy + a / 500, jnp.maximum(fy - b / 200, 0)
    xyz = [expand(f) for f in (fx, fy, fz)]
    channels, inside = [], jnp.ones(l.shape, bool)
    for row in RGB_FROM_WHITE_XYZ.astype(np.float32):
        linear = row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2]
        power = jnp.exp2(jnp.log2(jnp.maximum(linear, 0.001)) * np.float32(1 / 2.4))
        value = jnp.where(linear > 0.0031308, 1.055 * power - 0.055, linear * 12.92)
        inside &= (value >= -_IN_GAMUT) & (value <= 1 + _IN_GAMUT)
        channels.append(_levels(value, deep))
    return (*channels, inside)


class _Painter:
    """Writes colors into pixels (N, 3), and those out of the gamut later, many at once."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels, self._deep = pixels, pixels.dtype == np.uint16
        self._places: list[np.ndarray] = []
        self._labs: list[np.ndarray] = []
        self._waiting = 0

    def paint(self, start: int, planes: Sequence[np.ndarray]) -> None:
        """Writes colors, of which L, a and b are float32 (M,), to the pixels from `start` on."""
        for first in range(0, len(planes[0]), _PIECE):
            pieces = [plane[first : first + _PIECE] for plane in planes]
            count = len(pieces[0])
            padded = [np.pad(piece, (0, _PIECE - count)) for piece in pieces] if count < _PIECE else pieces
            *channels, inside = map(np.asarray, _planes_to_rgb(*padded, deep=self._deep))
            target = self._pixels[start + first : start + first + count]
            for i, channel in enumerate(channels):
                target[:, i] = channel[:count]
            outside = np.flatnonzero(~inside[:count])
            if len(outside):
                self._places.append(outside + start + first)
                self._labs.append(np.stack([piece[outside] for piece in pieces], axis=-1))
                self._waiting += len(outside)
                if self._waiting >= _PIECE:
                    self.finish()

    def finish(self) -> None:
        """Writes the colors that wait."""
        if self._waiting:
            levels = _in_pieces(partial(_to_rgb_in_gamut, deep=self._deep), np.concatenate(self._labs))
            self._pixels[np.concatenate(self._places)] = np.concatenate(levels)
        self._places, self._labs, self._waiting = [], [], 0


def colors_to_levels(lab: np.ndarray, deep: bool = False) -> np.ndarray:
    """Converts Lab colors (N, 3), L in [0, 100], to sRGB (N, 3) of the same luminance: uint8, or uint16 where `deep`.

    A color outside the sRGB gamut goes towards gray at constant L until it is inside, where a plain clamp would
    change how light it is. Rounding to bytes moves L by less than 0.3.
    """
    rgb = np.empty((len(lab), 3), np.uint16 if deep else np.uint8)
    painter = _Painter(rgb)
    painter.paint(0, [np.ascontiguousarray(lab[:, i], np.float32) for i in range(3)])
    painter.finish()
    return rgb


class Layer(NamedTuple):
    """A painting that lies over a part of a picture.

    Attributes:
      ab: the painting of the whole picture, (h, w, 2), Lab units.
      mask: how much of each pixel it covers, uint8 (H, W): 0 nothing, 255 all.
    """

    ab: np.ndarray
    mask: np.ndarray


def join(luminance: np.ndarray, ab: np.ndarray, deep: bool = False, layers: Sequence[Layer] = ()) -> np.ndarray:
    """Joins full-resolution L (H, W) with a painting's ab (h, w, 2), Lab units, stretched over it along its edges.

    Each of the layers lies over those before it, and all over the painting: ab is mixed at full resolution, so that no
    seam is wider than that of the mask. Where the masks are 0, the result is that without layers.

    Returns sRGB (H, W, 3): uint8, or uint16 where `deep`.
    """
    return join_colors(colors_of(luminance, ab, layers), deep)


class LinearColors:
    """ab as a linear function of L, by small maps that bicubic interpolation (Pillow's) stretches over a picture."""

    def __init__(self, offset: np.ndarray, slope: np.ndarray, size: tuple[int, int]) -> None:
        """Takes ab = offset + slope * L, maps (h, w, 2), for a picture of size (H, W)."""
        (height, width), rows = size, len(offset)
        maps = np.concatenate([offset, slope], axis=-1)
        planes = (Image.fromarray(np.ascontiguousarray(maps[..., i], np.float32)) for i in range(4))
        # Along rows by Pillow, and down columns as a product of matrices, a third of Pillow's time.
        wide = np.stack([np.asarray(plane.resize((width, rows), Image.Resampling.BICUBIC)) for plane in planes], axis=1)
        self._wide = wide.reshape(rows, 4 * width)
        self._weights = _interpolation(rows, height)

    def rows(self, l: np.ndarray, top: int, bottom: int) -> list[np.ndarray]:
        """Returns the a and b of rows top..bottom, whose L is l (bottom - top, W): the same shape."""
        weights = self._weights[top:bottom]
        used = np.flatnonzero(weights.any(axis=0))
        near = slice(used[0], used[-1] + 1)
        weights, samples = np.ascontiguousarray(weights[:, near]), self._wide[near]
        stretched = np.empty((len(weights), samples.shape[1]), np.float32)
        columns = max(1, _ONE_THREAD // weights.size)
        for first in range(0, samples.shape[1], columns):
            part = slice(first, first + columns)
            np.matmul(weights, samples[:, part], out=stretched[:, part])
        a, b, slope_a, slope_b = np.split(stretched, 4, axis=1)
        return [a + slope_a * l, b + slope_b * l]


def _interpolation(count: int, size: int) -> np.ndarray:
    """Returns the weights (size, count) of `count` samples in each of `size` that Pillow interpolates between them."""
    identity = Image.fromarray(np.eye(count, dtype=np.float32))
    return np.asarray(identity.resize((count, size), Image.Resampling.BICUBIC))


@dataclass(eq=False)
class Colors:
    """The ab of a picture of full size, which is computed row by row.

    Attributes:
      luminance: its L (H, W).
      paintings: a painting and those that lie over it.
      masks: how much the others cover, uint8 (H, W) each.
      added: what is added to these; None for nothing.
    """

    luminance: np.ndarray
    paintings: list[LinearColors]
    masks: list[np.ndarray]
    added: LinearColors | None = None

    def rows(self, top: int, bottom: int) -> list[np.ndarray]:
        """Returns the a and b of rows top..bottom, flat: (N,) each."""
        l = self.luminance[top:bottom]
        color, *over = (painting.rows(l, top, bottom) for painting in self.paintings)
        for part, mask in zip(over, self.masks, strict=True):
            share = mask[top:bottom] * np.float32(1 / 255)
            color = [x + share * (y - x) for x, y in zip(color, part, strict=True)]
        if self.added is not None:
            color = [x + y for x, y in zip(color, self.added.rows(l, top, bottom), strict=True)]
        return [plane.ravel() for plane in color]


def colors_of(luminance: np.ndarray, ab: np.ndarray, layers: Sequence[Layer] = ()) -> Colors:
    """Returns the colors of a painting of L (H, W), ab (h, w, 2), and of layers over it, along the edges of L."""
    paintings = [ab, *(layer.ab for layer in layers)]
    small = {shape: shrink(luminance, *shape) for shape in {painting.shape[:2] for painting in paintings}}
    linear = [linear_colors(small[painting.shape[:2]], painting, luminance.shape) for painting in paintings]
    return Colors(luminance, linear, [layer.mask for layer in layers])


def linear_colors(small: np.ndarray, ab: np.ndarray, size: tuple[int, int]) -> LinearColors:
    """Returns a painting, ab (h, w, 2), along the edges of L (h, w), for a picture of size (H, W)."""
    offset, slope = _along_edges(small[None], np.asarray(ab, np.float32)[None])
    return LinearColors(np.asarray(offset)[0], np.asarray(slope)[0], size)


def join_band(luminance: np.ndarray, colors: LinearColors, first: int, deep: bool) -> np.ndarray:
    """Joins a band of a picture's rows, L (h, W), from row `first` on, with a painting of the picture.

    Returns sRGB (h, W, 3): uint8, or uint16 where `deep`.
    """

    def rows(top: int, bottom: int) -> list[np.ndarray]:
        return [plane.ravel() for plane in colors.rows(luminance[top:bottom], first + top, first + bottom)]

    return _joined(luminance, rows, deep)


def join_colors(colors: Colors, deep: bool = False) -> np.ndarray:
    """Joins a picture's L and colors to sRGB (H, W, 3): uint8, or uint16 where `deep`."""
    return _joined(colors.luminance, colors.rows, deep)


def _joined(luminance: np.ndarray, rows: Callable[[int, int], Sequence[np.ndarray]], deep: bool) -> np.ndarray:
    """Joins L (H, W) with colors; rows(top, bottom) returns a and b of rows top to bottom, flat."""
    height, width = luminance.shape
    rgb = np.empty((height, width, 3), np.uint16 if deep else np.uint8)

    def paint(first: int, last: int) -> None:
        painter = _Painter(rgb.reshape(-1, 3))
        for band in _bands(last - first, width):
            top, bottom = (first + row for row in band)
            painter.paint(top * width, [luminance[top:bottom].ravel(), *rows(top, bottom)])
        painter.finish()

    _on_all_cores(paint, height, width)
    return rgb


def with_alpha(rgb: np.ndarray, picture: Picture) -> np.ndarray:
    """Returns sRGB (H, W, 3) with the opacity of its picture as a fourth channel, where that has one."""
    if picture.alpha is None:
        return rgb
    alpha = picture.alpha if rgb.dtype == picture.alpha.dtype else to_bytes(picture.alpha)
    return np.concatenate([rgb, alpha[..., None]], axis=-1)
