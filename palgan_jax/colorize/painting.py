"""How pictures are painted: with which palettes, how saturated, and at which size."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from palgan_jax.colorize.points import Hints
from palgan_jax.colorize.regions import Region
from palgan_jax.errors import UserError
from palgan_jax.palette.edit_words import Edits
from palgan_jax.palette.palette import Palette
from palgan_jax.palette.samples import sample_palette

_SIDES = 64
"""Sides of what the network sees are multiples of this."""
_LARGEST = 1024
_MOST_SATURATED = 100.0


@dataclass(frozen=True)
class Painting:
    """What decides, beside the model, how a picture is painted.

    Attributes:
      palette: the palette of all pictures; each has its predicted one where None.
      edits: of that palette, whichever it is.
      saturation: what the predicted ab are multiplied by, 0 to 100.
      sample: 0 for the palette itself; from 1 on, the number of a palette that is drawn around it.
      temperature, seed: how far from it, and which series of draws, a number from 0 on.
      hints: colors that are given at pixels; the palette is moved to hold them.
      regions: parts with palettes of their own; of those that overlap, the last lies over the others.
      resolution: the side of the square that the network paints, a multiple of 64 up to 1024; None for the model's own,
        at which palettes are predicted in any case.
      paint_border: whether the border of a print is painted as the photograph is; otherwise it stays gray.
      restore_contrast: whether the luminance of a faded print is stretched to nearly its full range before all else
        (`contrast`); otherwise it stays as it is.
      follow: whether the painting's colors are moved until they have the palette (`palette.transport`); one that stands
        for many pictures is not made for it.

    Raises UserError for numbers that are outside of their ranges.
    """

    palette: Palette | None = None
    edits: Edits | None = None
    saturation: float = 1.0
    sample: int = 0
    temperature: float = 1.0
    seed: int = 0
    hints: Hints | None = None
    regions: tuple[Region, ...] = ()
    resolution: int | None = None
    paint_border: bool = False
    restore_contrast: bool = False
    follow: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.saturation <= _MOST_SATURATED:
            raise UserError(
                f"the saturation is a number from 0 to {_MOST_SATURATED:g}, not {self.saturation:g}: 1 leaves it."
            )
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"the temperature of samples is a number of at least 0, not {self.temperature:g}.")
        if self.seed < 0:
            raise UserError(f"the seed of samples is a whole number from 0 on, not {self.seed}.")
        side = self.resolution
        if side is not None and (side % _SIDES or not _SIDES <= side <= _LARGEST):
            raise UserError(f"the resolution is a multiple of {_SIDES} up to {_LARGEST}, such as 512, not {side}.")

    @property
    def sees_border(self) -> bool:
        """Returns True where all of a print is painted, border and all, as it is where colors are given at pixels."""
        return self.paint_border or self.hints is not None

    def palette_for(self, predicted: Callable[[], Palette]) -> Palette | None:
        """Returns the palette to paint with; None for the predicted one as it is.

        predicted: returns a picture's predicted palette; called where it is needed.
        """
        if self.palette is None and self.edits is None and not self.sample:
            return None
        palette = self.palette or predicted()
        if self.edits is not None:
            palette = self.edits(palette)
        return sample_palette(palette, self.sample, self.temperature, self.seed) if self.sample else palette

    def digest(self) -> str:
        """Returns a digest of all of it."""
        palette = None if self.palette is None else [sha256(self.palette.to_json()).hexdigest(), self.follow]
        edits = None if self.edits is None else self.edits.text
        draw = (self.sample, self.temperature, self.seed) if self.sample else None
        hints = None if self.hints is None else self.hints.digest()
        regions = [region.digest() for region in self.regions]
        rest = [hints, regions, self.resolution, self.paint_border]
        if self.restore_contrast:  # or nothing, so that what earlier versions made is still known to be done
            rest.append("restored")
        return sha256(json.dumps([palette, edits, self.saturation, draw, *rest]).encode()).hexdigest()


def mean_of_references(palettes: Sequence[tuple[str, Palette]], weights: Sequence[float]) -> tuple[Palette, list[str]]:
    """Returns the mean of references' palettes, named and weighted, and a sentence for each that is gray.

    Raises UserError where no weight is above 0.
    """
    return Palette.mean([palette for _, palette in palettes], weights), notes_of_gray(palettes)


def notes_of_gray(palettes: Sequence[tuple[str, Palette]]) -> list[str]:
    """Returns a sentence for each reference, named, whose palette is gray."""
    return [
        f"{name} is gray, and so will be what is painted with its palette."
        for name, palette in palettes
        if palette.is_gray
    ]
