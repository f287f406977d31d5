"""Shares of batches, made by threads or worker processes (grain) ahead of their use.

A share is one process's rows of a global batch. Each is made whole by one function call, `make(k)`, so that its rows
are written where they stay.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import grain
import numpy as np
from absl import flags

from palgan_jax.data.workers import WorkerNotes, start_worker
from palgan_jax.errors import UserError
from palgan_jax.util.threads import available_cores

CACHE_BYTES = 1_000_000_000
"""Decoded pictures are kept in memory where all of a source take less than this."""
_MAX_WORKERS = 32
_MAX_THREADS = 16
_LEAST_SHARED = 512
"""Bytes of an array from which it goes through shared memory, so that the rest of a share is a message of at most 2 KB.

A pipe takes up to 4 KB at once (`PIPE_BUF` of Linux). Of a larger message, a worker that is killed can leave a part,
for the rest of which its reader waits for ever.
"""

MakeShare = Callable[[int], dict[str, np.ndarray]]


def shares_by_threads(make: MakeShare, count: int = sys.maxsize) -> Any:
    """Returns an iterator over make(0) ... make(count - 1), with a `close`, made by as many threads as there are cores.

    Each thread is at work on a share of its own, and two more shares are ready.
    """
    options = grain.ReadOptions(num_threads=thread_count(), prefetch_buffer_size=thread_count() + 2)
    return iter(grain.MapDataset.range(count).map(make).to_iter_dataset(options))


def shares_by_processes(make: MakeShare, notes: WorkerNotes, ready: int) -> Any:
    """Returns an endless iterator over make(0), make(1), ..., with a `close`, made by `notes.workers` processes.

    `make` is pickled; each process has up to `ready` shares ready.
    """
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain reads its flags when it starts a worker; no command line need set them
    # A worker decodes in its main thread.
    in_worker = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    shares = grain.MapDataset.range(sys.maxsize).map(make).to_iter_dataset(in_worker)
    in_memory = grain.experimental.DatasetOptions(min_shm_size=_LEAST_SHARED)
    shares = grain.experimental.WithOptionsIterDataset(shares, in_memory)
    options = grain.MultiprocessingOptions(num_workers=notes.workers, per_worker_buffer_size=ready)
    return iter(shares.mp_prefetch(options, functools.partial(start_worker, notes.writer())))


class ClosedShares:
    """Takes the place of grain's iterator, which complains if it still exists when Python ends."""

    def __next__(self) -> NoReturn:
        raise ValueError("these batches are closed")


def thread_count() -> int:
    """Returns the number of threads that decode."""
    return min(available_cores(), _MAX_THREADS)


def check_share(batch_size: int, process_count: int) -> None:
    """Raises UserError where a batch cannot be divided equally among the processes."""
    if batch_size < 1:
        raise UserError(f"the batch size must be at least 1, not {batch_size}.")
    if batch_size % process_count:
        raise UserError(
            f"a batch of {batch_size} cannot be shared equally among {process_count} processes: "
            f"make it a multiple of {process_count}."
        )


def worker_count(workers: int | str, cached: bool) -> int:
    """Returns the number of worker processes; UserError where `workers` is neither "auto" nor a number of them."""
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
