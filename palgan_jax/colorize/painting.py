"""How pictures are painted: with which palette, and how saturated."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from palgan_jax.colorize.points import Hints
from palgan_jax.errors import UserError
from palgan_jax.palette.edit_words import Edits
from palgan_jax.palette.palette import Palette
from palgan_jax.palette.samples import sample_palette


@dataclass(frozen=True)
class Painting:
    """What decides, beside the model, how a picture is painted.

    Attributes:
      palette: the palette of all pictures; each has its predicted one where None.
      edits: of that palette, whichever it is.
      saturation: what the predicted ab are multiplied by, at least 0.
      sample: 0 for the palette itself; from 1 on, the number of a palette that is drawn around it.
      temperature, seed: how far from it, and which series of draws.
      hints: colors that are given at pixels; the palette is moved to hold them.

    Raises UserError for a saturation or a temperature that is none.
    """

    palette: Palette | None = None
    edits: Edits | None = None
    saturation: float = 1.0
    sample: int = 0
    temperature: float = 1.0
    seed: int = 0
    hints: Hints | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.saturation < math.inf:
            raise UserError(f"the saturation is a number of at least 0, not {self.saturation:g}: 1 leaves it.")
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"the temperature of samples is a number of at least 0, not {self.temperature:g}.")

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
        palette = None if self.palette is None else sha256(self.palette.to_json()).hexdigest()
        edits = None if self.edits is None else self.edits.text
        drawn = (self.sample, self.temperature, self.seed) if self.sample else None
        hints = None if self.hints is None else self.hints.digest()
        return sha256(json.dumps([palette, edits, self.saturation, drawn, hints]).encode()).hexdigest()


def mean_of_references(palettes: Sequence[tuple[str, Palette]], weights: Sequence[float]) -> tuple[Palette, list[str]]:
    """Returns the mean of references' palettes, named and weighted, and a sentence for each that is gray.

    Raises UserError where no weight is above 0.
    """
    notes = [
        f"{name} is gray, and so will be what is painted with its palette."
        for name, palette in palettes
        if palette.is_gray
    ]
    return Palette.mean([palette for _, palette in palettes], weights), notes
