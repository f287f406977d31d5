"""Batches to train on: uint8 (b, R, R, 3), this process's rows of the global batch, without end.

Every epoch shows each picture once, in a new order and with a new crop. Sample number n of the run (picture, crop,
flip) depends on the seed and on n alone: not on the number of processes, workers or threads, nor on whether decoded
pictures are kept in memory. So one integer, `position`, is the whole state.
"""

import copy
import time
from contextlib import ExitStack
from typing import Any

import numpy as np

from palgan_jax.data.crop import Box, CropRule, Draw, take_crop
from palgan_jax.data.order import Order
from palgan_jax.data.protocols import Source
from palgan_jax.data.replacements import Replacements, vanished
from palgan_jax.data.resize import opencv_on_one_thread
from palgan_jax.data.shares import (
    CACHE_BYTES,
    ClosedShares,
    check_share,
    shares_by_processes,
    shares_by_threads,
    thread_count,
    worker_count,
)
from palgan_jax.data.workers import NoteWriter, WorkerNotes, dead_worker
from palgan_jax.errors import DataStopped, UserError

_MAX_FAILURES = 100  # unreadable pictures in a row that end the run


class TrainBatches:
    """Iterates over training batches without end; made by `train_batches`."""

    def __init__(self, make: "_TrainShare", workers: int, max_replaced: float, position: int):
        self._make = make
        self._source = make.source
        self.workers = workers
        """Number of worker processes; 0: threads of this process decode."""
        self.decoders = workers or thread_count()
        """Number of processes or threads that decode at the same time."""
        self._replacements = Replacements(self._source.name, len(self._source), max_replaced)
        self._first, self._batches_read = position, 0
        self._notes: WorkerNotes | None = None
        self._shares: Any
        self._to_close = ExitStack()
        if workers:
            self._notes = WorkerNotes(workers)
            self._to_close.callback(self._notes.close)
            self._shares = shares_by_processes(
                make.starting_at(position, self._notes.writer()), self._notes, make.ready()
            )
        else:
            self._to_close.enter_context(opencv_on_one_thread)
            self._shares = shares_by_threads(make.starting_at(position))
        self._to_close.callback(self._shares.close)

    def __iter__(self) -> "TrainBatches":
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        """Returns the next batch.

        Returns:
          rgb: uint8 (b, R, R, 3), sRGB.
          index: int32 (b,), the number of each picture in the source.
          replaced: int32 (b,), the number of the unreadable picture that each stands in for, else -1.
          seconds: float32 (b,), the time that reading, decoding and cropping each took in its process or thread.

        Raises:
          DataStopped: the source's folder has vanished, too many pictures cannot be read, a worker process has ended.
        """
        try:
            batch = next(self._shares)
        except DataStopped as error:
            raise DataStopped(str(error)) from None  # without the notes that grain adds
        except RuntimeError as error:
            if self._notes is None or "Worker process was terminated" not in str(error):
                raise
            raise dead_worker(self._notes.read(), str(error), self._source.picture_name) from None
        bad = batch["replaced"][batch["replaced"] >= 0]
        try:
            self._replacements.add(len(batch["index"]), (self._source.picture_name(int(i)) for i in bad))
        except DataStopped:
            if (folder := self._source.missing()) is not None:  # it takes a while to delete a folder
                raise vanished(self._source.name, folder) from None
            raise
        self._batches_read += 1
        return batch

    @property
    def replaced(self) -> dict[str, int]:
        """Returns how often another picture stood in for each unreadable one, by its name (in this process)."""
        return self._replacements.counts

    @property
    def position(self) -> int:
        """Returns the samples handed out since the start of the run, over all processes: where a resume goes on."""
        return self._first + self._batches_read * self._make.batch_size

    def close(self) -> None:
        """Ends worker processes and threads."""
        self._to_close.close()
        self._shares = ClosedShares()

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
    max_replaced: float = 1.0,
    position: int = 0,
    cache: bool | None = None,
) -> TrainBatches:
    """Returns batches for training: shuffled anew every epoch, randomly cropped and flipped.

    Args:
      source: from `open_source`. Each part of a mixture is shuffled by itself; any stretch of samples holds its share,
        to within a sample or two.
      resolution: R, the side of the squares.
      batch_size: the size of the global batch, over all processes.
      seed: determines order and crops; 0..2**32-1.
      workers: the number of processes that decode beside this one. "auto": one less than there are cores, but none on
        up to 2 cores (threads overlap decoding with the step, since the decoders release the interpreter's lock) and
        none where decoded pictures are kept in memory.
      process_index, process_count: this process's place; it gets rows [i * b, (i + 1) * b), b = batch_size / count, of
        each global batch.
      min_scale: see `CropRule`.
      max_replaced: the largest share of pictures that others may stand in for because they cannot be read any more; see
        `Replacements`.
      position: the number of samples of the run before the first batch, over all processes.
      cache: whether to keep decoded pictures in memory. None: where they take less than CACHE_BYTES and `workers` is
        "auto" or 0. The batches are the same either way.

    Raises:
      UserError: batch_size is not divisible by process_count; `workers` or `min_scale` is out of range.
    """
    check_share(batch_size, process_count)
    try:
        rule = CropRule(min_scale)
    except ValueError as error:
        raise UserError(f"{error}.") from None
    if cache is None:
        # Crops of a picture need one of two neighboring reductions, and some pictures are kept at both.
        cache_size = 1.25 * source.decoded_bytes(rule.at_least(resolution))
        cache = workers in ("auto", 0) and cache_size <= CACHE_BYTES
    workers = worker_count(workers, cache)
    shard = (process_index, process_count)
    make = _TrainShare(source, rule, resolution, batch_size, shard, seed % 2**32, cache and not workers)
    return TrainBatches(make, workers, max_replaced, position)


class _TrainShare:
    """Makes share number k of the training batches; picklable for worker processes."""

    def __init__(
        self,
        source: Source,
        rule: CropRule,
        resolution: int,
        batch_size: int,
        shard: tuple[int, int],
        seed: int,
        cache: bool,
    ):
        self.source = source
        self.batch_size = batch_size
        self._rule = rule
        self._resolution = resolution
        self._sizes = source.sizes
        self._process, count = shard
        self._rows = batch_size // count
        self._seed = seed
        self._order = Order(source.parts, seed)
        self._cache: dict[tuple[int, int], np.ndarray] | None = {} if cache else None
        self._first = 0
        self._note: NoteWriter | None = None

    def starting_at(self, position: int, note: NoteWriter | None = None) -> "_TrainShare":
        """Returns a copy that begins at sample `position` of the run and calls `note` with each picture it reads."""
        share = copy.copy(self)
        share._first, share._note = position, note
        return share

    def ready(self) -> int:
        """Returns how many shares a worker may have ready: fewer where they are large, to keep it under a gigabyte."""
        return 2 if self._rows * self._resolution**2 * 3 < 64_000_000 else 1

    def __call__(self, k: int) -> dict[str, np.ndarray]:
        count, side = self._rows, self._resolution
        first = self._first + k * self.batch_size + self._process * count
        share = {
            "rgb": np.empty((count, side, side, 3), np.uint8),
            "index": np.empty(count, np.int32),
            "replaced": np.full(count, -1, np.int32),
            "seconds": np.empty(count, np.float32),
        }
        draws = self._rule.draws(self._seed, first, count)
        numbers = [self._order(n) for n in range(first, first + count)]
        # All boxes at once: after a picture is decoded, this code has left the processor's caches and takes five times
        # as long.
        boxes = [self._box(i, draw) for i, draw in zip(numbers, draws, strict=True)]
        started = time.perf_counter()
        for row, (number, draw, box) in enumerate(zip(numbers, draws, boxes, strict=True)):
            i, rgb = self._next_good(number, draw, box)
            take_crop(rgb, box if i == number else self._box(i, draw), draw.mirrored, share["rgb"][row])
            share["index"][row] = i
            if i != number:
                share["replaced"][row] = number
            ended = time.perf_counter()
            share["seconds"][row] = ended - started
            started = ended
        return share

    def _box(self, i: int, draw: Draw) -> Box:
        """Returns the crop of picture i."""
        return self._rule.box(draw, *self._sizes[i].tolist())

    def _next_good(self, number: int, draw: Draw, box: Box) -> tuple[int, np.ndarray]:
        """Reads picture `number`, or the next one of its part of the source that can be read; returns which, and it."""
        try:
            return number, self._read(number, box)
        except UserError as error:
            reason = str(error).removesuffix(".")
        start, stop, _ = next(part for part in self.source.parts if part.start <= number < part.stop)
        count = min(stop - start, _MAX_FAILURES)
        for step in range(1, count + 1):
            if (folder := self.source.missing()) is not None:
                raise vanished(self.source.name, folder)
            i = start + (number - start + step) % (stop - start)
            try:
                return i, self._read(i, self._box(i, draw))
            except UserError:
                continue
        raise DataStopped(
            f"{self.source.name} has {count} pictures in a row that cannot be read any more, the first since {reason}."
        )

    def _read(self, i: int, box: Box) -> np.ndarray:
        """Reads picture i as small as its crop allows, or returns it from memory."""
        width, height = self._sizes[i].tolist()
        factor = box.reduction(width, height, self._resolution)
        if self._cache is not None and (rgb := self._cache.get((i, factor))) is not None:
            return rgb
        if self._note is not None:
            self._note(i)
        rgb = self.source.read(i, at_least=-(-min(width, height) // factor))
        if self._cache is not None:
            self._cache[i, factor] = rgb
        return rgb
