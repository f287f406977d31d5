"""Worker processes: prepares them, notes which picture each reads, and explains why one has ended."""

import multiprocessing
import os
import re
import signal
import struct
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2

from palgan_jax.errors import DataStopped


class WorkerNotes:
    """Notes the number of the picture that each worker process reads, so that its end can be explained.

    They are in a small file, which outlives the process and needs no lock that a dead one could hold.
    """

    def __init__(self, workers: int):
        self._file = tempfile.NamedTemporaryFile(prefix="palgan-workers-")  # noqa: SIM115 - lives as long as the workers
        self._file.write(bytes(_ROW.size * workers))
        self._file.flush()
        self.workers = workers

    def writer(self) -> "NoteWriter":
        """Returns the object through which a worker writes."""
        return NoteWriter(self._file.name)

    def read(self) -> list[tuple[int, int]]:
        """Returns (process id, number of the picture) of each worker.

        The id is 0 before the worker has started, the number -1 before its first picture.
        """
        return _read_rows(self._file.name)

    def close(self) -> None:
        """Removes the file."""
        self._file.close()


class NoteWriter:
    """Writes the row of one worker process; picklable."""

    def __init__(self, path: str):
        self._path = path
        self._file: int | None = None
        self._row = -1

    def __reduce__(self) -> tuple:
        return NoteWriter, (self._path,)

    def register(self, number: int) -> None:
        """Takes row `number` for this process."""
        self._file, self._row = os.open(self._path, os.O_WRONLY), number
        self(-1)

    def __call__(self, picture: int) -> None:
        """Notes that this process, which any copy of this object has registered, reads `picture`."""
        if self._file is None:
            self.register([process for process, _ in _read_rows(self._path)].index(os.getpid()))
        assert self._file is not None
        os.pwrite(self._file, _ROW.pack(os.getpid(), picture), self._row * _ROW.size)


_ROW = struct.Struct("qq")  # process id, number of the picture


def _read_rows(path: str) -> list[tuple[int, int]]:
    return list(_ROW.iter_unpack(Path(path).read_bytes()))


def start_worker(note: NoteWriter, number: int, count: int) -> None:
    """Prepares worker process `number` of `count`; runs before anything else in it."""
    note.register(number)
    cv2.setNumThreads(1)  # there is a process for each core already
    # A terminal's Ctrl-C and a scheduler's SIGTERM go to all processes; only the one that trains answers them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A process that was killed cannot stop its workers, so each ends itself when its parent does.
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: BaseProcess | None) -> None:
    if parent is not None:
        parent.join()
        os._exit(1)


def dead_worker(notes: list[tuple[int, int]], complaint: str, name_of: Callable[[int], str]) -> DataStopped:
    """Returns the error for a worker process that has ended by itself.

    Args:
      notes: from `WorkerNotes.read`.
      complaint: grain's message, with the exit code of the process.
      name_of: the source's `picture_name`.
    """
    match = re.search(r"exit code (-?\d+)", complaint)
    code = int(match[1]) if match else 1
    last_pictures = [picture for pid, picture in notes if pid and not _alive(pid)]
    names = [name_of(picture) for picture in last_pictures if picture >= 0]
    moment = f"while it read {' or '.join(names)}" if names else "before it read a picture"
    advice = (
        "the memory may have run out, so try a smaller --config.data.workers"
        if code == -signal.SIGKILL
        else "what it printed above may say why, and that picture may be at fault"
    )
    return DataStopped(f"a worker process {_ended(code)} {moment}: {advice}, and start the same command again.")


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
