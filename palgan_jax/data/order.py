"""Which picture a sample of a run shows: every part of a source in a new order each epoch, parts mixed by weight."""

import numpy as np

Part = tuple[int, int, float]  # first picture, last + 1, weight

PERIOD = 10_000
"""Samples after which the pattern of a mixture repeats; weights are exact to one of so many."""


class Order:
    """Sample number -> number of the picture, without end. Picklable.

    Random access: what stands at n depends on n, the seed and the parts alone. An epoch of a part is a permutation of
    it; of the samples of a mixture, every stretch holds a part's share to within a sample or two.
    """

    def __init__(self, parts: tuple[Part, ...], seed: int):
        self._parts = parts
        self._seed = seed
        self._pattern, self._rank = _pattern([weight for *_, weight in parts])
        self._counts = np.bincount(self._pattern, minlength=len(parts)).tolist()
        self._epochs: dict[tuple[int, int], np.ndarray] = {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_epochs": {}}

    def __call__(self, n: int) -> int:
        block, place = divmod(n, len(self._pattern))
        part = int(self._pattern[place])
        start, stop, _ = self._parts[part]
        epoch, place = divmod(block * self._counts[part] + int(self._rank[place]), stop - start)
        return start + int(self._permutation(part, epoch)[place])

    def _permutation(self, part: int, epoch: int) -> np.ndarray:
        key = (part, epoch)
        permutation = self._epochs.get(key)
        if permutation is None:
            start, stop, _ = self._parts[part]
            permutation = _permutation(stop - start, self._seed, part, epoch)
            # Threads that are still in the last epoch find its permutation; older ones go.
            kept = {(p, e): value for (p, e), value in list(self._epochs.items()) if p != part or e == epoch - 1}
            self._epochs = {**kept, key: permutation}
        return permutation


def _permutation(count: int, seed: int, part: int, epoch: int) -> np.ndarray:
    """uint32 (count,). From raw random words, which NumPy promises to keep, where it may change its own shuffling."""
    words = np.random.Philox(key=[seed, 1 + part], counter=[0, 0, epoch, 0]).random_raw(count)
    return np.argsort(words, kind="stable").astype(np.uint32)


def _pattern(weights: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """For each place of a period: which part it shows, and how many of that part stand before it."""
    if len(weights) == 1:
        return np.zeros(1, np.int32), np.zeros(1, np.int32)
    shares = np.array(weights) / sum(weights) * PERIOD
    counts = np.maximum(np.floor(shares).astype(int), 1)
    while (missing := PERIOD - counts.sum()) != 0:
        if missing > 0:
            counts[np.argmax(shares - counts)] += 1
        else:  # for parts of less than one sample; the largest can spare it best
            counts[np.argmax(counts)] -= 1
    due = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    part = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    rank = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    order = np.argsort(due, kind="stable")
    return part[order], rank[order]
