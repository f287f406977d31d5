"""The order of a run's pictures: every part of a source shuffled anew each epoch, and the parts mixed by weight."""

import numpy as np

from palgan_jax.data.protocols import Part

PERIOD = 10_000
"""Samples after which the sequence of a mixture's parts repeats; their shares are exact to one sample in a period."""


class Order:
    """Maps the number of a sample to the number of its picture, without end. Picklable.

    Random access: the picture of sample n depends on n, the seed and the parts alone. An epoch of a part is a
    permutation of it. Any stretch of samples holds each part's share to within a sample or two.
    """

    def __init__(self, parts: tuple[Part, ...], seed: int):
        self._parts = parts
        self._seed = seed
        self._period, self._rank = _period([part.weight for part in parts])
        self._counts = np.bincount(self._period, minlength=len(parts)).tolist()
        self._epochs: dict[tuple[int, int], np.ndarray] = {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_epochs": {}}

    def __call__(self, n: int) -> int:
        """Returns the picture of sample `n`, 0 or more."""
        period, place = divmod(n, len(self._period))
        part = int(self._period[place])
        start, stop, _ = self._parts[part]
        epoch, place = divmod(period * self._counts[part] + int(self._rank[place]), stop - start)
        return start + int(self._permutation(part, epoch)[place])

    def _permutation(self, part: int, epoch: int) -> np.ndarray:
        key = (part, epoch)
        permutation = self._epochs.get(key)
        if permutation is None:
            start, stop, _ = self._parts[part]
            permutation = _permutation(stop - start, self._seed, part, epoch)
            # Some threads may still be in the epoch before; no thread needs an older one.
            recent = {(p, e): value for (p, e), value in list(self._epochs.items()) if p != part or e == epoch - 1}
            self._epochs = {**recent, key: permutation}
        return permutation


def _permutation(count: int, seed: int, part: int, epoch: int) -> np.ndarray:
    """Returns the permutation of one epoch of a part, uint32 (count,)."""
    # From raw random integers, which NumPy promises to keep; its own shuffling may change.
    integers = np.random.Philox(key=[seed, 1 + part], counter=[0, 0, epoch, 0]).random_raw(count)
    return np.argsort(integers, kind="stable").astype(np.uint32)


def _period(weights: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Spreads the parts of a mixture over one period, each evenly.

    Sample j of a part that has m of them belongs at (j + 1/2) / m of the period; all samples of all parts are sorted
    by that.

    Returns:
      part: int32 (P,), the part that each place of the period shows.
      rank: int32 (P,), the number of samples of that part before it.
    """
    if len(weights) == 1:
        return np.zeros(1, np.int32), np.zeros(1, np.int32)
    counts = _apportion(weights, PERIOD)
    positions = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    part = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    rank = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    order = np.argsort(positions, kind="stable")
    return part[order], rank[order]


def _apportion(weights: list[float], total: int) -> np.ndarray:
    """Shares `total` samples out by the method of the largest remainder, but at least one to each weight.

    Each gets its exact share rounded down, but at least 1. Then the remaining samples go, one at a time, to the weight
    whose count is furthest below its share; or, if these are too many, the largest count gives them back. Returns
    int (N,).
    """
    shares = np.array(weights) / sum(weights) * total
    counts = np.maximum(np.floor(shares).astype(int), 1)
    while (remainder := total - counts.sum()) != 0:
        if remainder > 0:
            counts[np.argmax(shares - counts)] += 1
        else:
            counts[np.argmax(counts)] -= 1
    return counts
