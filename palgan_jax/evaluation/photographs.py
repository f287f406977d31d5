"""Loads the photographs to measure in batches, with everything that painting and measuring them needs."""

import json
import logging
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from palgan_jax.data.decode import decode_rgb
from palgan_jax.data.protocols import Pictures
from palgan_jax.distributed.collectives import gather_bytes
from palgan_jax.errors import UserError
from palgan_jax.evaluation.names import Selection
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
"""Times the protocol's side at which size consistency needs a photograph: 256, 512 and 1024 pixels."""


def answer(k: int) -> str:
    """Returns the batch's entry that holds the photographs whose palettes make answer number k."""
    return f"answer_{k}"


class _Loaded(NamedTuple):
    """The name of a photograph and its entries of a batch; None where it cannot be read, and for rows that fill up."""

    name: str
    arrays: Batch | None


_FILLER = _Loaded("", None)


class Photographs:
    """The selected photographs, numbered 0..len-1, with the inputs of a system and of metrics.

    Attributes:
      names: their names; None where each is read with its photograph.
    """

    def __init__(
        self,
        pictures: Pictures,
        selection: Selection,
        protocol: Protocol,
        system: System | None = None,
        metrics: Collection[str] = (),
        seed: int = 0,
    ):
        """Opens no file yet. `selection`: which of the `pictures`; `system`: None where none paints them."""
        (self._rows, self.names), count = selection, len(selection.rows)
        self._pictures, self._protocol, self._system = pictures, protocol, system
        self._resize = RESIZES[protocol.resize].function
        inputs = () if system is None else system.inputs
        self._sides = {"truth": protocol.side} | dict.fromkeys(inputs, protocol.side)
        self._partners = {"partner": partners(count, seed)} if "partner" in inputs else {}
        if "diversity" in metrics:
            for k in range(ANSWERS):
                self._partners[answer(k)] = partners(count, seed + 1 + k)
                self._sides[answer(k)] = protocol.side
        if "size_consistency" in metrics:
            self._sides[LARGE] = protocol.side * max(SIZES)

    def __len__(self) -> int:
        return len(self._rows)

    def batches(self, first: int, size: int, share: tuple[int, int]) -> Iterator[tuple[Batch, np.ndarray]]:
        """Yields this process's rows of each global batch of `size` photographs, from number `first` on, and its names.

        `share`: the process's number and how many there are. "mask" (b,) is False for rows that fill up the last batch
        and photographs that cannot be read, which are zeros. The names, str (B,), are those of the whole global batch;
        what fills it up has none. Raises UserError where a prediction cannot be used.
        """
        process, count = share
        local = size // count
        numbers = [start + process * local + row for start in range(first, len(self), size) for row in range(local)]
        arrays_of_rows = ordered_map(self._load, numbers, available_cores(), _AHEAD * local)
        for start in range(first, len(self), size):
            rows = [next(arrays_of_rows) for _ in range(local)]
            yield self._stacked(rows), self._global_names(start, size, [row.name for row in rows])

    def alone(self, i: int, size: int) -> Batch:
        """Returns photograph i in the first row of a batch."""
        return self._stacked([self._load(i), *[_FILLER] * (size - 1)])

    def _global_names(self, start: int, size: int, own_names: list[str]) -> np.ndarray:
        if self.names is None:
            names = [name for message in gather_bytes(json.dumps(own_names).encode()) for name in json.loads(message)]
        else:
            names = self.names[start : start + size]
        return np.array(names + [""] * (size - len(names)))

    def _stacked(self, arrays_of_rows: list[_Loaded]) -> Batch:
        batch = {name: np.zeros((len(arrays_of_rows), side, side, 3), np.uint8) for name, side in self._sides.items()}
        for row, (_, arrays) in enumerate(arrays_of_rows):
            for entry, array in (arrays or {}).items():
                batch[entry][row] = array
        return {**batch, "mask": np.array([arrays is not None for _, arrays in arrays_of_rows])}

    def _load(self, i: int) -> _Loaded:
        if i >= len(self):
            return _FILLER
        row, name = self._rows[i], None
        try:
            name, data = self._pictures.load(row)
            rgb = decode_rgb(data, name=self._pictures.label(row))
        except UserError as error:
            log.warning("left out: %s", error)
            return _Loaded(name or self._pictures.picture_name(row), None)
        side = self._protocol.side
        arrays = {"truth": self._resize(rgb, side)}
        for entry, order in self._partners.items():
            arrays[entry] = self._partner(i, order)
        if isinstance(self._system, Predictions):
            size = (rgb.shape[1], rgb.shape[0])
            arrays["predicted"] = self._system.read(name, size, self._resize, side)
        if LARGE in self._sides:
            arrays[LARGE] = self._resize(rgb, self._sides[LARGE])
        return _Loaded(name, arrays)

    def _partner(self, i: int, order: np.ndarray) -> np.ndarray:
        """Returns the first readable photograph after number i on the cycle `order`, resized."""
        j = int(order[i])
        while j != i:
            try:
                return self._resize(read_picture(self._pictures, self._rows[j]), self._protocol.side)
            except UserError:
                j = int(order[j])
        name = self._pictures.label(self._rows[i])
        raise UserError(f"no photograph but {name} can be read, and a palette is needed of another one.")
