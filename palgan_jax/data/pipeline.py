"""From a source of pictures to batches: uint8 (b, R, R, 3), this process's rows of the global batch.

Training draws without end: every epoch goes through each picture once in a new order, each time with a new crop. Sample
number n of the run (order, crop, flip) depends on the seed and on n alone: not on the number of processes, workers or
threads, nor on whether decoded pictures are kept in memory. So one integer, `position`, is the whole state.
"""

import math
from collections.abc import Iterator
from typing import Any

import grain
import numpy as np
from absl import flags

from palgan_jax.data.cores import available_cores
from palgan_jax.data.crop import CropRule, random_crop, squash
from palgan_jax.data.source import Source
from palgan_jax.errors import UserError

CACHE_BYTES = 1_000_000_000
"""Decoded pictures stay in memory where all of a source together take less than this."""
_MAX_FAILURES = 100  # pictures in a row; then the source is taken for gone
_MAX_WORKERS = 32
_MAX_THREADS = 16


class TrainBatches:
    """Endless training batches; made by `train_batches`."""

    def __init__(
        self, samples: grain.MapDataset, source: Source, batch_size: int, shard: tuple[int, int], workers: int
    ):
        self._samples = samples
        self._source = source
        self._batch_size = batch_size
        self._index, self._count = shard
        self.workers = workers
        self.replaced: dict[str, int] = {}
        """Pictures that couldn't be read any more, and how often another one stood in for each (in this process)."""
        self._iterator = self._start(0)

    def _start(self, position: int) -> Any:
        rows = _Rows(self._samples, self._batch_size, self._count, position)
        if self.workers and not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # grain reads its flags when it starts a worker; no command line need set them
        iterator = grain.experimental.ElasticIterator(
            rows,
            self._batch_size,
            grain.sharding.ShardOptions(shard_index=self._index, shard_count=self._count),
            # A worker decodes in its main thread; two batches wait in each.
            read_options=grain.ReadOptions(num_threads=0, prefetch_buffer_size=0) if self.workers else _threads(),
            multiprocessing_options=(
                grain.MultiprocessingOptions(num_workers=self.workers, per_worker_buffer_size=2)
                if self.workers
                else None
            ),
        )
        iterator.set_state({"global_next_index": position})
        return iterator

    def __iter__(self) -> "TrainBatches":
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        """
        Returns:
          rgb: uint8 (b, R, R, 3), sRGB.
          index: int32 (b,), the number of each picture in the source.
          replaced: int32 (b,), the number of the picture that was due where it couldn't be read, else -1.
        """
        batch = next(self._iterator)
        for i in batch["replaced"][batch["replaced"] >= 0]:
            name = self._source.picture_name(int(i))
            self.replaced[name] = self.replaced.get(name, 0) + 1
        return batch

    @property
    def position(self) -> int:
        """Samples handed out since the start of the run, over all processes. Set it to go on exactly there."""
        return self._iterator.get_state()["global_next_index"]

    @position.setter
    def position(self, position: int) -> None:
        if position < 0:
            raise ValueError(f"position must not be negative, got {position}")
        self._iterator.close()
        self._iterator = self._start(position)

    @property
    def epoch(self) -> float:
        """Times that the source has been gone through."""
        return self.position / len(self._source)

    def close(self) -> None:
        """Ends worker processes and threads."""
        self._iterator.close()

    def __enter__(self) -> "TrainBatches":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def train_batches(
    source: Source,
    *,
    resolution: int,
    batch_size: int,
    seed: int,
    workers: int | str = "auto",
    process_index: int = 0,
    process_count: int = 1,
    min_scale: float = CropRule.min_scale,
    jitter: float = CropRule.jitter,
    cache: bool | None = None,
) -> TrainBatches:
    """Batches for training: shuffled anew every epoch, randomly cropped and flipped.

    Args:
      source: from `open_source`.
      resolution: R, the side of the squares.
      batch_size: of the global batch, over all processes.
      seed: of order and crops, 0..2**32-1.
      workers: processes that decode beside this one. "auto": none on up to 2 cores (threads overlap decoding with the
        step, since the decoders release the interpreter's lock) and none where decoded pictures stay in memory, else
        one less than there are cores.
      process_index, process_count: this process's place; it gets rows [i * b, (i + 1) * b), b = batch_size / count, of
        each global batch.
      min_scale, jitter: see CropRule.
      cache: keep decoded pictures in memory. None: where there are no workers (each would keep its own) and all
        pictures together take less than CACHE_BYTES. Values don't depend on it.

    Raises:
      UserError: batch_size isn't divisible by process_count; while iterating: no picture can be read any more.
    """
    _check_share(batch_size, process_count)
    try:
        rule = CropRule(min_scale, jitter)
    except ValueError as error:
        raise UserError(f"the crops cannot be drawn: {error}.") from None
    at_least = rule.at_least(resolution)
    if cache is None:
        cache = workers in ("auto", 0) and source.decoded_bytes(at_least) <= CACHE_BYTES
    load = _Decoder(source, at_least, cache)
    samples = (
        grain.MapDataset.range(len(source))
        .seed(seed % 2**32)
        .shuffle()
        .repeat()
        .random_map(_TrainSample(load, rule, resolution))
    )
    return TrainBatches(samples, source, batch_size, (process_index, process_count), _worker_count(workers, cache))


class EvalBatches:
    """The pictures of a source in order, whole, squashed to R x R, as often as asked; made by `eval_batches`."""

    def __init__(self, source: Source, resolution: int, batch_size: int, shard: tuple[int, int]):
        self._source = source
        self._resolution = resolution
        self._batch_size = batch_size
        self._index, self._count = shard
        self.unreadable: set[str] = set()
        """Pictures that couldn't be read any more; their rows are masked."""
        self._kept: list[dict[str, np.ndarray]] | None = None

    def __len__(self) -> int:
        """Batches, the same number in every process."""
        return math.ceil(len(self._source) / self._batch_size)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """
        Yields:
          rgb: uint8 (b, R, R, 3); zeros where masked.
          mask: bool (b,), False in the rows that fill up the last batch and where a picture couldn't be read.
          index: int32 (b,), the number of each picture in the source; -1 in the rows that fill up.
        """
        if self._kept is not None:
            yield from self._kept
            return
        keep = len(self._source) * 3 * self._resolution**2 <= CACHE_BYTES // 4
        kept: list[dict[str, np.ndarray]] = []
        share = self._batch_size // self._count
        rows = grain.MapDataset.range(len(self) * self._batch_size)
        mine = _Rows(rows, self._batch_size, self._count, 0)[self._index :: self._count]
        batches = mine.map(_EvalSample(self._source, self._resolution)).batch(share)
        iterator = iter(batches.to_iter_dataset(_threads()))
        try:
            for batch in iterator:
                for i in batch["index"][~batch["mask"] & (batch["index"] >= 0)]:
                    self.unreadable.add(self._source.picture_name(int(i)))
                if keep:
                    kept.append(batch)
                yield batch
        finally:
            iterator.close()
        if keep:
            self._kept = kept


def eval_batches(
    source: Source, *, resolution: int, batch_size: int, process_index: int = 0, process_count: int = 1
) -> EvalBatches:
    """Batches for evaluation: fixed order, each picture once and whole.

    The resize is a squash to R x R, bilinear with antialiasing (Pillow), from a JPEG decoded to at least twice that.
    The last global batch is filled up to batch_size and masked, so that every process has the same number of batches.

    Raises:
      UserError: batch_size isn't divisible by process_count.
    """
    _check_share(batch_size, process_count)
    return EvalBatches(source, resolution, batch_size, (process_index, process_count))


class _Rows(grain.MapDataset):
    """Reorders each global batch so that the strided share that process i of n takes is its i-th block of rows.

    The global batch put together from the processes' shares is then the same array for any n.
    """

    def __init__(self, parent: grain.MapDataset, batch_size: int, process_count: int, start: int):
        super().__init__(parent)
        self._batch_size = batch_size
        self._process_count = process_count
        self._start = start  # batches are counted from here

    def __len__(self) -> int:
        return len(self._parent)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.slice(index)
        batch, row = divmod(index - self._start, self._batch_size)
        place, process = divmod(row, self._process_count)
        share = self._batch_size // self._process_count
        return self._parent[self._start + batch * self._batch_size + process * share + place]


class _Decoder:
    """Decodes picture i of a source, always to the same size; keeps what it decoded where asked to."""

    def __init__(self, source: Source, at_least: int, cache: bool):
        self._source = source
        self._at_least = at_least
        self._kept: dict[int, np.ndarray] | None = {} if cache else None

    def __call__(self, i: int) -> np.ndarray:
        if self._kept is None:
            return self._source.read(i, at_least=self._at_least)
        rgb = self._kept.get(i)
        if rgb is None:
            rgb = self._kept[i] = self._source.read(i, at_least=self._at_least)
        return rgb

    def __len__(self) -> int:
        return len(self._source)

    @property
    def name(self) -> str:
        return self._source.name


class _TrainSample(grain.transforms.RandomMap):
    def __init__(self, decode: _Decoder, rule: CropRule, resolution: int):
        self._decode = decode
        self._rule = rule
        self._resolution = resolution

    def random_map(self, element: int, rng: np.random.Generator) -> dict[str, Any]:
        draw = self._rule.draw(rng)
        i, rgb = self._next_good(int(element))
        return {
            "rgb": random_crop(rgb, draw, self._rule, self._resolution),
            "index": np.int32(i),
            "replaced": np.int32(-1 if i == element else element),
        }

    def _next_good(self, first: int) -> tuple[int, np.ndarray]:
        reason = ""
        for step in range(min(len(self._decode), _MAX_FAILURES)):
            i = (first + step) % len(self._decode)
            try:
                return i, self._decode(i)
            except UserError as error:
                reason = reason or str(error).removesuffix(".")
        tried = min(len(self._decode), _MAX_FAILURES)
        raise UserError(
            f"{self._decode.name} has {tried} pictures in a row that cannot be read any more, the first since {reason}."
        )


class _EvalSample(grain.transforms.Map):
    def __init__(self, source: Source, resolution: int):
        self._source = source
        self._resolution = resolution

    def map(self, element: int) -> dict[str, Any]:
        i, side = int(element), self._resolution
        if i >= len(self._source):
            return self._masked(-1)
        try:
            rgb = self._source.read(i, at_least=2 * side)
        except UserError:
            return self._masked(i)
        return {"rgb": squash(rgb, side), "mask": np.True_, "index": np.int32(i)}

    def _masked(self, i: int) -> dict[str, Any]:
        side = self._resolution
        return {"rgb": np.zeros((side, side, 3), np.uint8), "mask": np.False_, "index": np.int32(i)}


def _threads() -> grain.ReadOptions:
    """As many threads as there are cores, each at work on a batch, and two batches ahead of them."""
    threads = min(available_cores(), _MAX_THREADS)
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2)


def _check_share(batch_size: int, process_count: int) -> None:
    if batch_size < 1:
        raise UserError(f"the batch size must be at least 1, not {batch_size}.")
    if batch_size % process_count:
        raise UserError(
            f"a batch of {batch_size} cannot be shared equally among {process_count} processes: "
            f"make it a multiple of {process_count}."
        )


def _worker_count(workers: int | str, cached: bool) -> int:
    if workers == "auto":
        cores = available_cores()
        return 0 if cached or cores <= 2 else min(cores - 1, _MAX_WORKERS)
    try:
        count = int(workers)
    except ValueError:
        count = -1
    if count < 0:
        raise UserError(f'the number of workers must be "auto" or 0 or more, not {workers!r}.')
    return count
