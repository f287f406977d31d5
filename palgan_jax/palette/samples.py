"""Other palettes that a photograph might have, drawn around one.

The prior is a mixture: 64 typical palettes of training photographs, the centers of k-means in the square roots of the
shares (in which Euclidean distances are Hellinger's), each as probable as it has photographs. A typical palette is
drawn by its posterior, for which the palette at hand is an observation with a normal error, and the sample lies on the
way to it. Drawing from a mixture where a mean would be gray is the idea of Deshpande et al. ("Learning Diverse Image
Colorization", 2017). `comparisons/palette_samples.py` makes the typical palettes and measures samples.
"""

from functools import cache
from pathlib import Path

import numpy as np

from palgan_jax.errors import UserError
from palgan_jax.palette.palette import Palette
from palgan_jax.palette.spec import PaletteSpec

TYPICAL = Path(__file__).parents[1] / "bundled" / "typical_palettes.npz"
_DEVIATION = 0.1
"""Of a palette from the typical one that it stands for, as a Hellinger distance."""
_PER_TEMPERATURE = 0.5
"""How far on the way to a typical palette a sample lies at temperature 1."""


def check_samples(count: int, temperature: float) -> None:
    """Raises UserError where so many samples, or samples of that temperature, cannot be drawn."""
    largest_count = len(_typical()[0])
    if not 0 <= count <= largest_count:
        raise UserError(f"there are at most {largest_count} samples of a palette, and {count} were asked for.")
    if not 0 <= temperature <= 2:
        raise UserError(f"the temperature of samples is from 0 to 2, not {temperature:g}: 1 is half way.")


def sample_palette(palette: Palette, number: int, temperature: float = 1.0, seed: int = 0) -> Palette:
    """Draws a palette around another.

    Args:
      palette: the palette.
      number: of the sample, from 1 to 64; those of one seed go to different typical palettes, the first ones mostly to
        the most probable.
      temperature: 0 is the palette itself, 1 half way to a typical one, 2 the typical one.
      seed: of the draws.

    Raises UserError for a number or a temperature out of its range.
    """
    typical, counts, draws = prior(seed)
    check_samples(number, temperature)
    at = np.sqrt(palette.counted_as(PaletteSpec()).shares.astype(np.float64))
    squares = 0.5 * ((typical - at) ** 2).sum(axis=1)
    logits = np.log(counts) - squares / (2 * _DEVIATION**2)
    # The greatest of such sums is a draw, and the following ones are draws without replacement (Gumbel's trick).
    order = np.argsort(-(logits + draws))
    way = _PER_TEMPERATURE * temperature
    palette_sample = Palette(((1 - way) * at + way * typical[order[number - 1]]) ** 2)
    return palette_sample.counted_as(palette.spec, palette.ab_range)


def prior(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns what samples of a seed are drawn with, float64.

    The square roots (64, 256) of the typical palettes, how many photographs have each (64,), and a draw of the Gumbel
    distribution for each (64,).
    """
    typical, counts = _typical()
    return typical, counts, np.random.default_rng(seed).gumbel(size=len(typical))


@cache
def _typical() -> tuple[np.ndarray, np.ndarray]:
    """Returns the square roots (64, 256) of the typical palettes, and how many photographs have each."""
    with np.load(TYPICAL) as content:
        return content["roots"].astype(np.float64), content["counts"].astype(np.float64)
