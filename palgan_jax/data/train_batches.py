"""From a source of pictures to batches: uint8 (b, R, R, 3), this process's rows of the global batch.

Training draws without end: every epoch goes through each picture once in a new order, each time with a new crop. Sample
number n of the run (order, crop, flip) depends on the seed and on n alone: not on the number of processes, workers or
threads, nor on whether decoded pictures are kept in memory. So one integer, `position`, is the whole state.
"""

import copy
import functools
import math
import sys
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import grain
import numpy as np
from absl import flags

from palgan_jax.data.crop import Box, CropRule, Draw, squash, take_crop
from palgan_jax.data.order import Order
from palgan_jax.data.protocols import Source
from palgan_jax.data.workers import NoteWriter, Replacements, WorkerNotes, dead_worker, start_worker, vanished
from palgan_jax.errors import DataStopped, UserError
from palgan_jax.util.threads import available_cores

CACHE_BYTES = 1_000_000_000
"""Decoded pictures stay in memory where all of a source together take less than this."""
_MAX_FAILURES = 100  # pictures in a row; then the source is taken for gone
_MAX_WORKERS = 32
_MAX_THREADS = 16


class TrainBatches:
    """Endless training batches; made by `train_batches`."""

    def __init__(self, fill: "_TrainShare", workers: int, max_replaced: float, position: int):
        self._fill = fill
        self._source = fill.source
        self.workers = workers
        """Processes that decode; 0: threads of this one do."""
        self.decoders = workers or _thread_count()
        """Processes or threads that decode side by side."""
        self._replacements = Replacements(self._source.name, len(self._source), max_replaced)
        self._notes: WorkerNotes | None = None
        self._first, self._taken = position, 0
        self._iterator: Any = self._in_processes() if workers else self._in_threads()

    def _in_threads(self) -> Any:
        return iter(_shares(self._fill.starting_at(self._first)).to_iter_dataset(_threads()))

    def _in_processes(self) -> Any:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # grain reads its flags when it starts a worker; no command line need set them
        self._notes = WorkerNotes(self.workers)
        note = self._notes.writer()
        # A worker decodes in its main thread.
        shares = _shares(self._fill.starting_at(self._first, note)).to_iter_dataset(
            grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
        )
        options = grain.MultiprocessingOptions(num_workers=self.workers, per_worker_buffer_size=self._fill.ahead())
        # Only the pictures are worth a piece of shared memory.
        shares = grain.experimental.WithOptionsIterDataset(
            shares, grain.experimental.DatasetOptions(min_shm_size=65_536)
        )
        return iter(shares.mp_prefetch(options, functools.partial(start_worker, note)))

    def __iter__(self) -> "TrainBatches":
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        """
        Returns:
          rgb: uint8 (b, R, R, 3), sRGB.
          index: int32 (b,), the number of each picture in the source.
          replaced: int32 (b,), the number of the picture that was due where it couldn't be read, else -1.
          seconds: float32 (b,), what reading, decoding and cropping each took in its process or thread.

        Raises:
          DataStopped: the folder of the source is gone, too many pictures cannot be read, a worker process has ended.
        """
        try:
            batch = next(self._iterator)
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
        self._taken += 1
        return batch

    @property
    def replaced(self) -> dict[str, int]:
        """Pictures that couldn't be read any more, and how often another one stood in for each (in this process)."""
        return self._replacements.counts

    @property
    def position(self) -> int:
        """Samples handed out since the start of the run, over all processes: where another one is to go on."""
        return self._first + self._taken * self._fill.batch_size

    def close(self) -> None:
        """Ends worker processes and threads."""
        self._iterator.close()
        self._iterator = _Closed()
        if self._notes is not None:
            self._notes.close()
            self._notes = None

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
    """Batches for training: shuffled anew every epoch, randomly cropped and flipped.

    Args:
      source: from `open_source`. Each part of a mixture is shuffled and gone through by itself; over any stretch of
        samples its share is its weight, to within a sample or two.
      resolution: R, the side of the squares.
      batch_size: of the global batch, over all processes.
      seed: of order and crops, 0..2**32-1.
      workers: processes that decode beside this one. "auto": none on up to 2 cores (threads overlap decoding with the
        step, since the decoders release the interpreter's lock) and none where decoded pictures stay in memory, else
        one less than there are cores.
      process_index, process_count: this process's place; it gets rows [i * b, (i + 1) * b), b = batch_size / count, of
        each global batch.
      min_scale: of the crops; see CropRule.
      max_replaced: the largest share of pictures that others may stand in for because they cannot be read any more; see
        `faults.Replacements`.
      position: samples that the run has had already, over all processes; the first batch is what follows.
      cache: whether decoded pictures stay in memory. None: where they take less than CACHE_BYTES and no workers were
        asked for. The batches are the same either way.

    Raises:
      UserError: batch_size isn't divisible by process_count; unknown number of workers; impossible crops.
    """
    _check_share(batch_size, process_count)
    try:
        rule = CropRule(min_scale)
    except ValueError as error:
        raise UserError(f"{error}.") from None
    if cache is None:
        # The crops of a picture are taken from one of two neighboring reductions.
        needed = 1.25 * source.decoded_bytes(rule.at_least(resolution))
        cache = workers in ("auto", 0) and needed <= CACHE_BYTES
    workers = _worker_count(workers, cache)
    shard = (process_index, process_count)
    fill = _TrainShare(source, rule, resolution, batch_size, shard, seed % 2**32, cache and not workers)
    return TrainBatches(fill, workers, max_replaced, position)


class EvalBatches:
    """The pictures of a source in order, whole, squashed to R x R, as often as asked; made by `eval_batches`."""

    def __init__(self, source: Source, resolution: int, batch_size: int, shard: tuple[int, int]):
        self._source = source
        self._resolution = resolution
        self._batch_size = batch_size
        self._shard = shard
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
        fill = _EvalShare(self._source, self._resolution, self._batch_size, self._shard)
        iterator = iter(_shares(fill, len(self)).to_iter_dataset(_threads()))
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


def _shares(fill: "_TrainShare | _EvalShare", count: int = sys.maxsize) -> grain.MapDataset:
    """Each element is a whole share of a batch, so that its rows are written where they stay."""
    return grain.MapDataset.range(count).map(fill)


class _TrainShare:
    """Share number k of the training batches; picklable for worker processes."""

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
        self._kept: dict[tuple[int, int], np.ndarray] | None = {} if cache else None
        self._first = 0
        self._note: NoteWriter | None = None

    def starting_at(self, position: int, note: NoteWriter | None = None) -> "_TrainShare":
        """The same with share 0 at another sample of the run, and with the note for worker processes."""
        other = copy.copy(self)
        other._first, other._note = position, note
        return other

    def ahead(self) -> int:
        """Shares that a worker may have ready: fewer where they are large, to keep it under a gigabyte."""
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
        dues = [self._order(n) for n in range(first, first + count)]
        # All at once: between two pictures, the processor has forgotten this code and takes five times as long.
        boxes = [self._box(i, draw) for i, draw in zip(dues, draws, strict=True)]
        started = time.perf_counter()
        for row, (due, draw, box) in enumerate(zip(dues, draws, boxes, strict=True)):
            i, rgb = self._next_good(due, draw, box)
            take_crop(rgb, box if i == due else self._box(i, draw), draw.mirrored, share["rgb"][row])
            share["index"][row] = i
            if i != due:
                share["replaced"][row] = due
            ended = time.perf_counter()
            share["seconds"][row] = ended - started
            started = ended
        return share

    def _box(self, i: int, draw: Draw) -> Box:
        return self._rule.box(draw, *self._sizes[i].tolist())

    def _next_good(self, due: int, draw: Draw, box: Box) -> tuple[int, np.ndarray]:
        """The picture that is due, or the next one of its part of the source that can be read."""
        try:
            return due, self._read(due, box)
        except UserError as error:
            reason = str(error).removesuffix(".")
        start, stop = next((start, stop) for start, stop, _ in self.source.parts if start <= due < stop)
        tried = min(stop - start, _MAX_FAILURES)
        for step in range(1, tried + 1):
            if (folder := self.source.missing()) is not None:
                raise vanished(self.source.name, folder)
            i = start + (due - start + step) % (stop - start)
            try:
                return i, self._read(i, self._box(i, draw))
            except UserError:
                continue
        raise DataStopped(
            f"{self.source.name} has {tried} pictures in a row that cannot be read any more, the first since {reason}."
        )

    def _read(self, i: int, box: Box) -> np.ndarray:
        width, height = self._sizes[i].tolist()
        by = box.reduction(width, height, self._resolution)
        if self._kept is not None and (rgb := self._kept.get((i, by))) is not None:
            return rgb
        if self._note is not None:
            self._note(i)
        rgb = self.source.read(i, at_least=-(-min(width, height) // by))
        if self._kept is not None:
            self._kept[i, by] = rgb
        return rgb


class _Closed:
    """In the place of grain's iterator, which would complain if it were still there when Python ends."""

    def __next__(self) -> NoReturn:
        raise ValueError("these batches are closed")

    def close(self) -> None:
        pass


class _EvalShare:
    """Share number k of the batches for evaluation."""

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
        # Asked for less than half, a decoder gives it without a loss; else it had better not hurry.
        wanted = 2 * self._resolution
        return self._source.read(i, at_least=wanted if self._source.sizes[i].min() >= 2 * wanted else None)


def _threads() -> grain.ReadOptions:
    """As many threads as there are cores, each at work on a batch, and two batches ahead of them."""
    return grain.ReadOptions(num_threads=_thread_count(), prefetch_buffer_size=_thread_count() + 2)


def _thread_count() -> int:
    return min(available_cores(), _MAX_THREADS)


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
