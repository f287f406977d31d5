"""Batches to evaluate on: uint8 (b, R, R, 3), this process's rows of the global batch, in a fixed order."""

import math
from collections.abc import Iterator

import numpy as np

from palgan_jax.data.crop import squash
from palgan_jax.data.protocols import Source
from palgan_jax.data.shares import CACHE_BYTES, check_share, shares_by_threads
from palgan_jax.errors import UserError


class EvalBatches:
    """Iterates over the whole pictures of a source in order, squashed to R x R; made by `eval_batches`."""

    def __init__(self, source: Source, resolution: int, batch_size: int, shard: tuple[int, int]):
        self._source = source
        self._resolution = resolution
        self._batch_size = batch_size
        self._shard = shard
        self.unreadable: set[str] = set()
        """Names of pictures that cannot be read any more; their rows are masked."""
        self._cache: list[dict[str, np.ndarray]] | None = None

    def __len__(self) -> int:
        """Returns the number of batches, which is the same in every process."""
        return math.ceil(len(self._source) / self._batch_size)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Yields dictionaries:

        rgb: uint8 (b, R, R, 3); zeros where masked.
        mask: bool (b,), False in the rows that fill up the last batch and where a picture couldn't be read.
        index: int32 (b,), the number of each picture in the source; -1 in the rows that fill up.
        """
        if self._cache is not None:
            yield from self._cache
            return
        keep = len(self._source) * 3 * self._resolution**2 <= CACHE_BYTES // 4
        batches: list[dict[str, np.ndarray]] = []
        fill = _EvalShare(self._source, self._resolution, self._batch_size, self._shard)
        iterator = shares_by_threads(fill, len(self))
        try:
            for batch in iterator:
                for i in batch["index"][~batch["mask"] & (batch["index"] >= 0)]:
                    self.unreadable.add(self._source.picture_name(int(i)))
                if keep:
                    batches.append(batch)
                yield batch
        finally:
            iterator.close()
        if keep:
            self._cache = batches


def eval_batches(
    source: Source, *, resolution: int, batch_size: int, process_index: int = 0, process_count: int = 1
) -> EvalBatches:
    """Returns batches for evaluation: each picture once and whole, in a fixed order.

    Each is squashed to R x R by Pillow's antialiased bilinear filter; a large JPEG is first decoded to at least twice
    that. The last global batch is filled up to batch_size and masked, so that every process has as many batches.

    Raises:
      UserError: batch_size isn't divisible by process_count.
    """
    check_share(batch_size, process_count)
    return EvalBatches(source, resolution, batch_size, (process_index, process_count))


class _EvalShare:
    """Makes share number k of the batches for evaluation."""

    def __init__(self, source: Source, resolution: int, batch_size: int, shard: tuple[int, int]):
        self._source = source
        self._resolution = resolution
        self._batch_size = batch_size
        self._process, count = shard
        self._rows = batch_size // count

    def __call__(self, k: int) -> dict[str, np.ndarray]:
        count, side = self._rows, self._resolution
        first = k * self._batch_size + self._process * count
        index = np.arange(first, first + count, dtype=np.int32)
        index[index >= len(self._source)] = -1
        share = {"rgb": np.zeros((count, side, side, 3), np.uint8), "mask": np.zeros(count, bool), "index": index}
        for row, i in enumerate(index.tolist()):
            if i < 0:
                break
            try:
                share["rgb"][row] = squash(self._read(i), side)
            except UserError:
                continue
            share["mask"][row] = True
        return share

    def _read(self, i: int) -> np.ndarray:
        """Decodes picture i exactly, except where a reduction by the decoder still leaves twice the resolution."""
        enough = 2 * self._resolution
        return self._source.read(i, at_least=enough if self._source.sizes[i].min() >= 2 * enough else None)
