"""Pictures, folders and worker processes that give out while a run goes on.

A picture that cannot be read any more is replaced by the next one. All else ends the run with one sentence, a
`DataStopped`: too many such pictures, no folder any more, a worker process that is gone.
"""

import multiprocessing
import os
import re
import signal
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess
from pathlib import Path

from palgan_jax.errors import DataStopped

FIRST_LOOK = 1000
"""Pictures after which the share of bad ones says something; before that, so many are taken for granted."""

_NAMED = 5  # pictures that the last sentence names


class Replacements:
    """Counts the pictures of a source that others stood in for, and ends the run where they become too many.

    That is where more than max_share of the different pictures that were due until now are bad, over the first 1,000 or
    the whole source if it is smaller. One picture alone never ends a run.
    """

    def __init__(self, name: str, total: int, max_share: float):
        self._name, self._total, self._max_share = name, total, max_share
        self._due = 0
        self.counts: Counter[str] = Counter()
        """How often another picture stood in for each that could not be read."""

    def add(self, due: int, bad: Iterable[str]) -> None:
        """Takes note of `due` more samples and of the names of those that were replaced.

        Raises:
          DataStopped: they are too many; names the first few.
        """
        self._due += due
        self.counts.update(bad)
        seen = min(max(self._due, FIRST_LOOK), self._total)
        if len(self.counts) > max(1, self._max_share * seen):
            raise DataStopped(self._report(min(self._due, self._total)))

    def _report(self, seen: int) -> str:
        names = list(self.counts)
        others = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return (
            f"{len(names)} of the first {seen} pictures of {self._name} cannot be read any more "
            f"({', '.join(names[:_NAMED])}{others}), which is more than {self._max_share:.2%}: bring them back, remove "
            "them, or raise --config.data.max_unreadable, and start the same command again."
        )


def vanished(name: str, folder: str) -> DataStopped:
    """What to say where the folder of a source is gone."""
    return DataStopped(
        f"{folder} with the pictures of {name} is gone: bring it back (is a disk or a network drive unmounted?) and "
        "start the same command again."
    )


class WorkerNotes:
    """Where each worker process writes down which picture it is at, so that its end can be explained.

    A small file, so that nothing of it goes with the process and nobody has to wait for a lock that it held.
    """

    _ROW = struct.Struct("qq")  # process id, number of the picture

    def __init__(self, workers: int):
        self._file = tempfile.NamedTemporaryFile(prefix="palgan-workers-")  # noqa: SIM115 - lives as long as the workers
        self._file.write(bytes(self._ROW.size * workers))
        self._file.flush()
        self.workers = workers

    def writer(self) -> "NoteWriter":
        """What a worker gets."""
        return NoteWriter(self._file.name)

    def read(self) -> list[tuple[int, int]]:
        """Process id (0: not started) and number of the picture (-1: none yet), a row a worker."""
        data = Path(self._file.name).read_bytes()
        return list(self._ROW.iter_unpack(data))

    def close(self) -> None:
        self._file.close()


class NoteWriter:
    """One worker's hand on the notes; picklable."""

    def __init__(self, path: str):
        self._path = path
        self._open: int | None = None

    def __reduce__(self) -> tuple:
        return NoteWriter, (self._path,)

    def __call__(self, picture: int) -> None:
        """Notes down that this process goes at picture number `picture`."""
        if _own_number is None:
            return
        if self._open is None:
            self._open = os.open(self._path, os.O_WRONLY)
        row = WorkerNotes._ROW
        os.pwrite(self._open, row.pack(os.getpid(), picture), _own_number * row.size)


_own_number: int | None = None  # of this worker process


def start_worker(note: NoteWriter, number: int, count: int) -> None:
    """Called in each worker process before anything else."""
    global _own_number
    _own_number = number
    note(-1)
    # A terminal's Ctrl-C and a scheduler's SIGTERM go to all processes; the one that trains decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A process that was killed cannot stop its workers: they look after themselves.
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: BaseProcess | None) -> None:
    if parent is not None:
        parent.join()
        os._exit(1)


def dead_worker(notes: list[tuple[int, int]], complaint: str, name_of: Callable[[int], str]) -> DataStopped:
    """What to say of a worker process that has ended by itself.

    Args:
      notes: from `WorkerNotes.read`.
      complaint: what was said of the process, with its exit code.
      name_of: the source's `picture_name`.
    """
    found = re.search(r"exit code (-?\d+)", complaint)
    code = int(found.group(1)) if found else 1
    dead = [picture for pid, picture in notes if pid and not _alive(pid)]
    at = [name_of(picture) for picture in dead if picture >= 0]
    where = f"while it read {' or '.join(at)}" if at else "before it read a picture"
    advice = (
        "the memory may have run out, so try a smaller --config.data.workers"
        if code == -signal.SIGKILL
        else "what it printed above may say why, and that picture may be at fault"
    )
    return DataStopped(f"a worker process {_ended(code)} {where}: {advice}, and start the same command again.")


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
