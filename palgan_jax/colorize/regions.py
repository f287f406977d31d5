"""Parts of a picture that are painted with palettes of their own (method: section 13).

What is decided here:

- A mask is white, or opaque, where its palette paints; gray and half opaque pixels are mixed.
- It may be smaller or larger than the picture, as one that was drawn on a preview is, but not of another shape.
- Of masks that overlap, the one that was given last lies over the others.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TypeGuard

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from palgan_jax.colorize.join import Layer, squash
from palgan_jax.data.in_memory import Readable
from palgan_jax.data.levels import to_bytes
from palgan_jax.data.picture import Picture
from palgan_jax.errors import UserError
from palgan_jax.palette.palette import Palette
from palgan_jax.palette.regions import Regions
from palgan_jax.palette.spec import PaletteSpec
from palgan_jax.palette.swatch_files import READERS
from palgan_jax.util.files import user_path

REACH = 24 / 256
"""How far beyond its mask a region's palette goes within the network, as a share of the picture's side.

A palette that ends at the mask would run over it by so much, since features are mixed with those around them.
"""
_SHAPE = 0.02  # how far the proportions of a mask may be from those of its picture


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a picture, and its palette.

    Attributes:
      mask: how much of each pixel belongs to it, uint8 (h, w), of a picture of the same shape but any size.
      palette: what it is painted with.
      name: of the mask, for messages.
    """

    mask: np.ndarray
    palette: Palette
    name: str = "the mask of a region"

    def mask_of_size(self, height: int, width: int) -> np.ndarray:
        """Returns the mask for a picture of this size, uint8 (height, width). Raises UserError for another shape."""
        rows, columns = self.mask.shape
        if (rows, columns) == (height, width):
            return self.mask
        # A side that was reduced to few pixels, as that of a panorama, is up to one of them off.
        off_by_a_pixel = max(rows + columns, height + width)
        if abs(rows * width - columns * height) > max(_SHAPE * columns * height, off_by_a_pixel):
            raise UserError(
                f"{self.name} is {columns} x {rows}, and the picture {width} x {height}: give a mask of its "
                "proportions, drawn on the picture as it is shown."
            )
        resized = Image.fromarray(self.mask).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(resized)

    def within(self, height: int, width: int, place: tuple[slice, slice]) -> "Region":
        """Returns the region of a part of a picture of this size. Raises UserError for a mask of another shape."""
        mask = self.mask_of_size(height, width)[place]
        return replace(self, mask=np.ascontiguousarray(mask))

    def digest(self) -> str:
        """Returns a digest of mask and palette."""
        digest = sha256(f"{self.mask.shape}".encode())
        digest.update(np.ascontiguousarray(self.mask).tobytes())
        digest.update(self.palette.to_json())
        return digest.hexdigest()


def mask_of(picture: Picture, name: str) -> np.ndarray:
    """Returns the mask that a picture is, uint8 (H, W): how opaque it is, or, where all is opaque, how light.

    Raises UserError where nothing is masked.
    """
    if picture.alpha is not None:
        mask = to_bytes(picture.alpha)
    else:
        mask = np.asarray(Image.fromarray(to_bytes(picture.pixels)).convert("L"))
    if not mask.any():
        empty = "black all over" if picture.alpha is None else "nothing but transparent"
        raise UserError(f"{name} is {empty}: paint white what the region is.")
    return np.ascontiguousarray(mask)


def paint_region(
    region: Region,
    square: np.ndarray,
    palette: np.ndarray,
    paint: Callable[[np.ndarray, Regions, int], np.ndarray],
) -> Layer:
    """Paints a region as a layer over a picture that is painted with another palette.

    Within the network, the region's palette reaches `REACH` beyond its mask, and the picture's palette paints the rest,
    so that G sees what surrounds the region as it will be. The layer ends where the mask does.

    Args:
      region: the region, whose mask has the picture's size; its palette is counted as the model's are.
      square: the picture's L (size, size) in [0, 100], as the network sees it.
      palette: the picture's palette (K,).
      paint: `Colorizer.repaint`, which paints L with regions at a size.
    """
    size = len(square)
    share = _grown(region.mask, size)
    regions = Regions(
        np.stack([palette, region.palette.counts()])[None],  # (1, 2, K)
        np.stack([1 - share, share], axis=-1)[None],  # (1, size, size, 2)
    )
    return Layer(paint(square, regions, size), region.mask)


def _grown(mask: np.ndarray, size: int) -> np.ndarray:
    """Returns 1 within `REACH` of what a mask (H, W) covers, and 0 elsewhere: float32 (size, size)."""
    covered = squash(mask.astype(np.float32), size) > 0
    reach = round(REACH * size)
    for axis in range(2):  # a window of rows, then one of columns: Pillow's filter looks at all pixels of the square
        padded = np.pad(covered, [(reach, reach) if axis == i else (0, 0) for i in range(2)])
        covered = sliding_window_view(padded, 2 * reach + 1, axis).any(-1)
    return np.asarray(covered, np.float32)


def palette_or_reference(source: Readable, spec: PaletteSpec, ab_range: float) -> Palette:
    """Returns the palette of a file of one, by its suffix, or that of a picture. Raises UserError for anything else."""
    return Palette.load(source) if is_palette_file(source) else Palette.of(source, spec, ab_range)


def is_palette_file(source: Readable) -> "TypeGuard[str | os.PathLike]":
    """Returns True for the name of a file of a palette."""
    return isinstance(source, str | os.PathLike) and Path(source).suffix.lower() in (".json", *READERS)


def region_and_source(word: str) -> tuple[Path, Path]:
    """Returns the two files of MASK=PALETTE; names with an equals sign are found by the masks that exist.

    Raises UserError where there is no equals sign.
    """
    pairs = [(word[:i], word[i + 1 :]) for i, letter in enumerate(word) if letter == "="]
    if not pairs:
        raise UserError(f"{word} is no region: write MASK.png=PALETTE.json, or MASK.png=PICTURE.jpg.")
    mask, source = next((pair for pair in pairs if os.path.lexists(user_path(pair[0]))), pairs[0])
    return user_path(mask), user_path(source)
