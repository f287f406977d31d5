"""A picture's luminance and its joining with predicted color (method: section 9).

The contract of the module: pictures are sRGB (H, W, 3) on the host, of levels uint8 or uint16, L is float32 (H, W) in
[0, 100], ab is float32 (h, w, 2) in Lab units. Work goes over the picture in bands of rows, so that a large picture
needs little more memory than itself.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from palgan_jax.color import DARK, LIGHT_OF_RGB, light_to_lightness, srgb_to_linear
from palgan_jax.colorize.edges import Guide
from palgan_jax.colorize.lab_levels import PIECE, ROOTS_OF_AB, LevelWriter
from palgan_jax.colorize.linear_colors import LinearColors
from palgan_jax.data.levels import to_bytes
from palgan_jax.data.picture import Picture
from palgan_jax.util.threads import available_cores

_GAP = 3.0  # how many times larger than the result the means of blocks are, which interpolation makes it of


def _bands(height: int, width: int) -> list[tuple[int, int]]:
    """Returns the (first, last + 1) rows of bands of a picture, of at most PIECE pixels each, and at least a row."""
    rows = max(1, PIECE // width)
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Returns the L (H, W) in [0, 100] of a picture, gray (H, W) or (H, W, 3), uint8 or uint16."""
    height, width = rgb.shape[:2]
    red, green, blue = light = _light_of_levels(np.iinfo(rgb.dtype).max)
    gray = light_to_lightness(light.sum(axis=0))
    if rgb.ndim == 2:
        return gray.take(rgb)
    result = np.empty((height, width), np.float32)

    def convert(first: int, last: int) -> None:
        for top, bottom in _bands(last - first, width):
            band, l = rgb[first + top : first + bottom], result[first + top : first + bottom]
            if _is_gray(band):  # as most that are colorized
                gray.take(np.ascontiguousarray(band[..., 1]), out=l, mode="clip")
                continue
            r, g, b = (np.ascontiguousarray(band[..., i]) for i in range(3))
            y = red.take(r)
            y += green.take(g)
            y += blue.take(b)
            np.cbrt(y, out=l)
            dark = np.flatnonzero(l < DARK)  # where L is linear
            l *= 116
            l -= 16
            l.reshape(-1)[dark] = light_to_lightness(y.reshape(-1)[dark])

    _on_all_cores(convert, height, width)
    return result


def _is_gray(rgb: np.ndarray) -> bool:
    """Tells whether the channels of a band (H, W, 3) are the same: in one go along memory, as it lies there."""
    flat = np.ascontiguousarray(rgb).reshape(-1)
    equalities = flat[1:] == flat[:-1]
    equalities[2::3] = True  # blue of a pixel, and red of the next one
    return bool(equalities.all())


def _on_all_cores(work: Callable[[int, int], None], height: int, width: int) -> None:
    """Calls work(first, last + 1) for parts of a picture's rows, at the same time on as many cores as there are."""
    parts = min(available_cores(), height * width // (4 * PIECE))
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
    right, bottom = float(luminance.shape[1]), float(luminance.shape[0])
    while min(bottom / height, right / width) >= 2 * _GAP:  # a sixth of the time of Pillow's means
        luminance, right, bottom = _halved(luminance), right / 2, bottom / 2
    resized = Image.fromarray(luminance).resize(
        (width, height), Image.Resampling.BILINEAR, (0, 0, right, bottom), reducing_gap=_GAP
    )
    return np.asarray(resized, np.float32)


def _halved(luminance: np.ndarray) -> np.ndarray:
    """Returns the means of blocks of 2 x 2 pixels; the last of an odd number of rows or columns counts twice."""
    height, width = luminance.shape
    if height % 2 or width % 2:
        luminance = np.pad(luminance, [(0, height % 2), (0, width % 2)], mode="edge")
    rows = luminance[::2] + luminance[1::2]
    means = rows[:, ::2] + rows[:, 1::2]
    means *= np.float32(0.25)
    return means


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

    def resized(self, luminance: np.ndarray) -> "Colors":
        """Returns them, without what is added, for a copy of the picture in another size, L (h, w)."""
        size = luminance.shape
        masks = [np.asarray(Image.fromarray(mask).resize(size[::-1])) for mask in self.masks]
        return Colors(luminance, [painting.resized(size) for painting in self.paintings], masks)

    def roots(self, top: int, bottom: int) -> np.ndarray:
        """Returns the roots (3, N), see `lab_levels`, of the pixels of rows top..bottom."""
        l = self.luminance[top:bottom]
        color, *region_roots = (painting.roots(l, top, bottom) for painting in self.paintings)
        for part, mask in zip(region_roots, self.masks, strict=True):
            part -= color
            part *= mask[top:bottom] * np.float32(1 / 255)
            color += part
        if self.added is not None:
            hint_roots = self.added.roots(l, top, bottom)
            hint_roots -= hint_roots[2].copy()
            color += hint_roots
        return color.reshape(3, -1)

    def ab(self, top: int, bottom: int) -> np.ndarray:
        """Returns the ab (N, 2) of the pixels of rows top..bottom."""
        *roots, gray = self.roots(top, bottom)
        return (roots - gray).T / ROOTS_OF_AB


def ab_of(colors: Colors) -> np.ndarray:
    """Returns all colors of a picture: ab (H, W, 2)."""
    height, width = colors.luminance.shape
    bands = [colors.ab(top, bottom) for top, bottom in _bands(height, width)]
    return np.concatenate(bands).reshape(height, width, 2)


def colors_of(
    luminance: np.ndarray,
    ab: np.ndarray,
    layers: Sequence[Layer] = (),
    guide_of: Callable[[tuple[int, int]], Guide] | None = None,
) -> Colors:
    """Returns the colors of a painting of L (H, W), ab (h, w, 2), and of layers over it, along the edges of L.

    guide_of: returns the guide of that L at a size (h, w), where it is kept for other paintings.
    """
    guide_of = guide_of or cache(lambda size: Guide(shrink(luminance, *size)))
    linear = [
        linear_colors(guide_of(painting.shape[:2]), painting, luminance.shape)
        for painting in (ab, *(layer.ab for layer in layers))
    ]
    return Colors(luminance, linear, [layer.mask for layer in layers])


def linear_colors(guide: Guide, ab: np.ndarray, size: tuple[int, int]) -> LinearColors:
    """Returns a painting, ab (h, w, 2), along the edges of its guide, for a picture of size (H, W)."""
    return LinearColors(*guide.along(np.asarray(ab, np.float32)), size)


def join_band(luminance: np.ndarray, colors: LinearColors, first: int, deep: bool) -> np.ndarray:
    """Joins a band of a picture's rows, L (h, W), from row `first` on, with a painting of the picture.

    Returns sRGB (h, W, 3): uint8, or uint16 where `deep`.
    """

    def roots(top: int, bottom: int) -> np.ndarray:
        return colors.roots(luminance[top:bottom], first + top, first + bottom).reshape(3, -1)

    return _joined(luminance.shape, roots, deep)


def join_colors(colors: Colors, deep: bool = False) -> np.ndarray:
    """Joins a picture's L and colors to sRGB (H, W, 3): uint8, or uint16 where `deep`."""
    return _joined(colors.luminance.shape, colors.roots, deep)


def _joined(size: tuple[int, int], roots: Callable[[int, int], np.ndarray], deep: bool) -> np.ndarray:
    """Returns a picture of size (H, W); roots(top, bottom) returns the roots (3, N) of rows top to bottom."""
    height, width = size
    rgb = np.empty((height, width, 3), np.uint16 if deep else np.uint8)

    def write(first: int, last: int) -> None:
        writer = LevelWriter(rgb.reshape(-1, 3))
        for band in _bands(last - first, width):
            top, bottom = (first + row for row in band)
            writer.write(top * width, roots(top, bottom))
        writer.finish()

    _on_all_cores(write, height, width)
    return rgb


def with_alpha(rgb: np.ndarray, picture: Picture) -> np.ndarray:
    """Returns sRGB (H, W, 3) with the opacity of its picture as a fourth channel, where that has one."""
    if picture.alpha is None:
        return rgb
    alpha = picture.alpha if rgb.dtype == picture.alpha.dtype else to_bytes(picture.alpha)
    return np.concatenate([rgb, alpha[..., None]], axis=-1)
