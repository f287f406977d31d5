"""Batches of the photographs to measure, with everything that painting and measuring them needs."""

import logging
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from palgan_jax.data.protocols import Pictures
from palgan_jax.errors import UserError
from palgan_jax.evaluation.protocols import Protocol
from palgan_jax.evaluation.resize import RESIZES
from palgan_jax.evaluation.systems import Predictions, System
from palgan_jax.evaluation.truth import partners, read_picture
from palgan_jax.util.threads import available_cores, ordered_map

log = logging.getLogger(__name__)

_AHEAD = 3  # batches

Batch = dict[str, np.ndarray]

ANSWERS = 4
"""Palettes of other photographs that diversity paints each photograph with."""
LARGE = "large"
"""The batch's entry that holds the photographs at the largest of SIZES."""
SIZES = (1, 2, 4)
"""Times the protocol's side at which a photograph is given for size consistency: 256, 512 and 1024."""


def answer(k: int) -> str:
    """Returns the batch's entry that holds the photographs whose palettes make answer number k."""
    return f"answer_{k}"


class Photographs:
    """The photographs of a protocol, numbered 0..len-1 in its order, as a system and metrics ask for them.

    Attributes:
      names: what they are called.
    """

    def __init__(
        self,
        pictures: Pictures,
        names: Sequence[str],
        rows: Sequence[int],
        protocol: Protocol,
        system: System | None = None,
        metrics: Collection[str] = (),
        seed: int = 0,
    ):
        """`names`: of all `pictures`; `rows`: which of them. A `system` of None asks for nothing."""
        self._pictures, self._rows, self._protocol, self._system = pictures, rows, protocol, system
        self._resize = RESIZES[protocol.resize].function
        self.names = [names[row] for row in rows]
        asks = () if system is None else system.asks
        self._sides = {"truth": protocol.side} | dict.fromkeys(asks, protocol.side)
        self._partners = {"partner": partners(len(rows), seed)} if "partner" in asks else {}
        if "diversity" in metrics:
            for k in range(ANSWERS):
                self._partners[answer(k)] = partners(len(rows), seed + 1 + k)
                self._sides[answer(k)] = protocol.side
        if "size_consistency" in metrics:
            self._sides[LARGE] = protocol.side * max(SIZES)

    def __len__(self) -> int:
        return len(self._rows)

    def batches(self, first: int, size: int, share: tuple[int, int]) -> Iterator[Batch]:
        """This process's rows of the global batches of `size` photographs, from number `first` on.

        `share`: the process's number and how many there are. "mask" (b,) is False for rows that fill up the last batch
        and photographs that cannot be read, which are zeros. Raises UserError where a prediction cannot be used.
        """
        process, count = share
        local = size // count
        numbers = [start + process * local + row for start in range(first, len(self), size) for row in range(local)]
        loaded = ordered_map(self._load, numbers, available_cores(), _AHEAD * local)
        for _ in range(first, len(self), size):
            yield self._stacked([next(loaded) for _ in range(local)])

    def alone(self, i: int, size: int) -> Batch:
        """Photograph i in the first row of a batch."""
        return self._stacked([self._load(i), *[None] * (size - 1)])

    def _stacked(self, loaded: list[Batch | None]) -> Batch:
        batch = {name: np.zeros((len(loaded), side, side, 3), np.uint8) for name, side in self._sides.items()}
        for row, arrays in enumerate(loaded):
            for name, array in (arrays or {}).items():
                batch[name][row] = array
        return {**batch, "mask": np.array([arrays is not None for arrays in loaded])}

    def _load(self, i: int) -> Batch | None:
        """What belongs to photograph i; None where there is none of that number, or it cannot be read."""
        if i >= len(self):
            return None
        try:
            rgb = read_picture(self._pictures, self._rows[i])
        except UserError as error:
            log.warning("left out: %s", error)
            return None
        side = self._protocol.side
        found = {"truth": self._resize(rgb, side)}
        for name, order in self._partners.items():
            found[name] = self._partner(i, order)
        if isinstance(self._system, Predictions):
            size = (rgb.shape[1], rgb.shape[0])
            found["predicted"] = self._system.read(self.names[i], size, self._resize, side)
        if LARGE in self._sides:
            found[LARGE] = self._resize(rgb, self._sides[LARGE])
        return found

    def _partner(self, i: int, order: np.ndarray) -> np.ndarray:
        """The photograph that `order` gives to number i, or, where it cannot be read, that which it gives to that."""
        j = int(order[i])
        while j != i:
            try:
                return self._resize(read_picture(self._pictures, self._rows[j]), self._protocol.side)
            except UserError:
                j = int(order[j])
        raise UserError(f"no photograph but {self.names[i]} can be read, and a palette is needed of another one.")
