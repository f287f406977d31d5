"""What a sample of a set's pictures has on average: the baselines that validation and `palgan evaluate` measure.

The mean color of a set paints every picture the same; its mean and median palettes are what a palette generator that
looks at no picture would predict.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import numpy as np

from palgan_jax.color import bytes_to_lab
from palgan_jax.data.crop import squash
from palgan_jax.errors import DataStopped, UserError
from palgan_jax.palette.histogram import normalized, of_picture
from palgan_jax.palette.spec import PaletteSpec
from palgan_jax.util.progress import Progress
from palgan_jax.util.threads import available_cores, ordered_map

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Read = Callable[[int], np.ndarray]

SIDE = 256
"""The least shorter side to decode pictures to for a mean color."""
COUNT = 5000
"""The most pictures to read for an average."""


class Averages(NamedTuple):
    """Averages over the pictures of a set, which all count the same, float32.

    Attributes:
      ab: (2,), the mean a and b, in Lab units.
      mean_palette: (K,), the mean of the palettes.
      median_palette: (K,), the median of each bin, normalized as palettes are.
    """

    ab: np.ndarray
    mean_palette: np.ndarray
    median_palette: np.ndarray


def mean_ab(reader: Read, numbers: Sequence[int], name: str, count: int = COUNT) -> np.ndarray:
    """Computes the mean a and b, float32 (2,), in Lab units, of at most `count` pictures; arguments as of `sample`."""
    return np.mean(sample(_mean_ab_of, reader, numbers, name, count), axis=0).astype(np.float32)


def averages(
    reader: Read,
    numbers: Sequence[int],
    name: str,
    *,
    resolution: int,
    spec: PaletteSpec,
    ab_range: float,
    count: int = COUNT,
) -> Averages:
    """Computes mean color and typical palettes of at most `count` pictures; arguments and errors as of `sample`.

    Palettes are counted as in training: of the picture squashed to `resolution` pixels a side.
    """
    palette_of = jax.jit(partial(of_picture, spec=spec, ab_range=ab_range))

    def both(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _mean_ab_of(rgb), np.asarray(palette_of(squash(rgb, resolution)))

    colors, palettes = zip(*sample(both, reader, numbers, name, count), strict=True)
    mean, median = np.mean(palettes, axis=0), np.median(palettes, axis=0)
    return Averages(
        np.mean(colors, axis=0).astype(np.float32), *(np.asarray(normalized(h, spec)) for h in (mean, median))
    )


def _mean_ab_of(rgb: np.ndarray) -> np.ndarray:
    return bytes_to_lab(rgb)[..., 1:].mean(axis=(0, 1), dtype=np.float64)


def sample(
    compute: Callable[[np.ndarray], Result], reader: Read, numbers: Sequence[int], name: str, count: int = COUNT
) -> list[Result]:
    """Computes something of each of at most `count` pictures of a set, evenly spread over it, on all cores.

    Args:
      compute: takes a picture, uint8 sRGB (H, W, 3).
      reader: returns the picture of a number; one for which it raises UserError is left out.
      numbers: the numbers of the set's pictures, in order.
      name: the name of the set, for messages.

    Raises DataStopped where none of the chosen pictures can be read.
    """
    subset = [numbers[i * len(numbers) // min(count, len(numbers))] for i in range(min(count, len(numbers)))]

    def of_number(number: int) -> Result | None:
        try:
            rgb = reader(number)
        except UserError as error:
            log.warning("left out of the averages: %s", error)
            return None
        return compute(rgb)

    results = []
    with Progress("averages", len(subset), unit="picture", shown=jax.process_index() == 0) as progress:
        for result in ordered_map(of_number, subset, available_cores(), 2 * available_cores()):
            progress.advance()
            if result is not None:
                results.append(result)
    if not results:
        raise DataStopped(
            f"none of {len(subset)} pictures of {name} can be read, so they have no mean color: bring them back or "
            "name others, and start the same command again."
        )
    return results
