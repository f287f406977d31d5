"""The mean color of a set of pictures, a baseline that validation and `palgan evaluate` measure beside a model."""

import logging
from collections.abc import Callable, Sequence

import jax
import numpy as np

from palgan_jax.color import bytes_to_lab
from palgan_jax.errors import DataStopped, UserError
from palgan_jax.util.progress import Progress
from palgan_jax.util.threads import available_cores, ordered_map

log = logging.getLogger(__name__)

SIDE = 256
"""The least shorter side to decode pictures to for a mean color."""
COUNT = 5000
"""The most pictures to read for a mean color."""


def mean_ab(read: Callable[[int], np.ndarray], numbers: Sequence[int], name: str, count: int = COUNT) -> np.ndarray:
    """Computes the mean a and b, float32 (2,), in Lab units, of at most `count` pictures, which all count the same.

    Args:
      read: returns the picture of a number, uint8 sRGB (H, W, 3); one for which it raises UserError is left out.
      numbers: the numbers of the set's pictures, of which `count` are chosen, evenly spread.
      name: the name of the set, for messages.

    Raises DataStopped where none of the chosen pictures can be read.
    """
    chosen = [numbers[i * len(numbers) // min(count, len(numbers))] for i in range(min(count, len(numbers)))]

    def mean(number: int) -> np.ndarray | None:
        try:
            rgb = read(number)
        except UserError as error:
            log.warning("left out of the mean color: %s", error)
            return None
        return bytes_to_lab(rgb)[..., 1:].mean(axis=(0, 1), dtype=np.float64)

    means = []
    with Progress("mean color", len(chosen), unit="picture", shown=jax.process_index() == 0) as progress:
        for ab in ordered_map(mean, chosen, available_cores(), 2 * available_cores()):
            progress.advance()
            if ab is not None:
                means.append(ab)
    if not means:
        raise DataStopped(
            f"none of {len(chosen)} pictures of {name} can be read, so they have no mean color: bring them back or "
            "name others, and start the same command again."
        )
    return np.mean(means, axis=0).astype(np.float32)
