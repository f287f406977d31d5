"""A picture, prepared for painting: what all of its paintings have in common is computed once."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from palgan_jax.colorize.border import Border, find_border
from palgan_jax.colorize.contrast import UNCHANGED, Contrast, Tones
from palgan_jax.colorize.edges import Guide
from palgan_jax.colorize.join import Layer, colors_of, join, join_colors, luminance, shrink, squash, with_alpha
from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.points import SIDE as HINT_SIDE
from palgan_jax.colorize.points import Ground, Spread
from palgan_jax.data.picture import Picture
from palgan_jax.palette.palette import Palette


class View:
    """What the network sees of a photograph, at each of its sizes.

    Attributes:
      predicted: the palette that was predicted for it; None before that.
      last_painting: how it was painted last: its size and palette, as bytes, and the palette and ab; None before that.
    """

    def __init__(self, lightness: np.ndarray) -> None:
        """Takes the photograph's L (H, W) in [0, 100]."""
        self._lightness = lightness
        self._squares: dict[int, np.ndarray] = {}
        self.predicted: Palette | None = None
        self.last_painting: tuple[tuple[int, bytes], np.ndarray, np.ndarray] | None = None

    def square(self, side: int) -> np.ndarray:
        """Returns the L of the photograph, squashed to (side, side)."""
        if side not in self._squares:
            self._squares[side] = squash(self._lightness, side)
        return self._squares[side]


class Subject:
    """A picture to be painted, by one Colorizer: what is the same for all paintings is computed once, and kept.

    Attributes:
      picture: the picture.
      hint_side: the pixels of the longer side at which colors that are given at pixels are spread.
    """

    def __init__(self, picture: Picture, hint_side: int = HINT_SIDE, contrast: Contrast = UNCHANGED) -> None:
        """Takes a picture, and what its luminance goes through before all else."""
        self.picture, self.hint_side, self._contrast = picture, hint_side, contrast
        self._guides: dict[tuple[int, int], Guide] = {}

    @cached_property
    def lightness(self) -> np.ndarray:
        """Its L (H, W) in [0, 100]."""
        return self._contrast(luminance(self.picture.pixels))

    @cached_property
    def restored(self) -> "Subject":
        """The same picture with its contrast restored: itself where it has all of it."""
        tones = Tones(*self.lightness.shape)
        tones.add(self.lightness, self.picture.alpha)
        contrast = tones.full_contrast(self.border)
        if contrast == UNCHANGED:
            return self
        restored = Subject(self.picture, self.hint_side, contrast)
        restored.border = self.border
        return restored

    @cached_property
    def ground(self) -> Ground:
        """What colors that are given at pixels are spread over."""
        return Ground(self.lightness, self.hint_side)

    def guide(self, size: tuple[int, int]) -> Guide:
        """Returns what guides paintings of a size (h, w) along the edges of the picture."""
        if size not in self._guides:
            is_seen = self.picture.alpha is None and size[0] == size[1]  # by the network, too
            small = self.whole.square(size[0]) if is_seen else shrink(self.lightness, *size)
            self._guides[size] = Guide(small)
        return self._guides[size]

    @cached_property
    def _lightness_on_white(self) -> np.ndarray:
        if self.picture.alpha is None:
            return self.lightness
        return self._contrast(luminance(self.picture.on_white()))

    @cached_property
    def border(self) -> Border | None:
        """The border, if it is a print."""
        return find_border(self._lightness_on_white)

    @cached_property
    def whole(self) -> View:
        """What the network sees of all of it."""
        return View(self._lightness_on_white)

    @cached_property
    def photograph(self) -> View:
        """What the network sees of the photograph within the border."""
        if self.border is None:
            return self.whole
        return View(np.ascontiguousarray(self._lightness_on_white[self.border.place(*self.lightness.shape)]))


class PreparedPicture:
    """A picture for all paintings that differ in their palettes alone.

    Attributes:
      view: what the network sees of it: of a print, the photograph within the border, and all of it where colors are
        given at pixels.
      spread: the colors that are given at pixels, spread over the picture; None where none are.
      regions: parts with palettes of their own, within the view.
    """

    def __init__(self, subject: Subject, painting: Painting) -> None:
        """Raises UserError for points outside of the picture, and for a region's mask of another shape."""
        subject = subject.restored if painting.restore_contrast else subject
        self._subject, self._picture, self._lightness = subject, subject.picture, subject.lightness
        height, width = self._lightness.shape
        hints = painting.hints
        self.spread = None if hints is None else Spread(subject.ground, hints)
        self._border = None if painting.sees_border else subject.border
        self.view = subject.whole if self._border is None else subject.photograph
        self._place = np.s_[:, :] if self._border is None else self._border.place(height, width)
        self.regions = [region.within(height, width, self._place) for region in painting.regions]

    def joined(self, ab: np.ndarray, layers: Sequence[Layer], deep: bool) -> np.ndarray:
        """Joins the picture's luminance with a painting of the view, ab (R, R, 2) in Lab units, and layers over it.

        Returns sRGB (H, W, 3), or (H, W, 4) with the picture's opacity: uint8, or its own 16 bits if `deep`.
        """
        deep = deep and self._picture.pixels.dtype == np.uint16
        lightness, height, width = self._lightness, *self._lightness.shape
        if self._border is None:
            colors = colors_of(lightness, ab, layers, self._subject.guide)
            if self.spread is not None:
                colors = self.spread.over(colors)
            return with_alpha(join_colors(colors, deep), self._picture)
        border = Layer(np.zeros_like(ab), np.ascontiguousarray(self._border.mask(height, width)[self._place]))
        pixels = np.empty((height, width, 3), np.uint16 if deep else np.uint8)
        for strip in _around(self._place, height, width):
            pixels[strip] = join(np.ascontiguousarray(lightness[strip]), np.zeros((2, 2, 2), np.float32), deep)
        pixels[self._place] = join(np.ascontiguousarray(lightness[self._place]), ab, deep, [*layers, border])
        return with_alpha(pixels, self._picture)


def _around(place: tuple[slice, slice], height: int, width: int) -> list[tuple[slice, slice]]:
    """Returns the rows and columns of what lies around a part of a picture of this size: at each side that has any."""
    rows, columns = place
    above, below = slice(0, rows.start), slice(rows.stop, height)
    before, after = slice(0, columns.start), slice(columns.stop, width)
    strips = (above, slice(0, width)), (below, slice(0, width)), (rows, before), (rows, after)
    return [(y, x) for y, x in strips if y.start < y.stop and x.start < x.stop]
