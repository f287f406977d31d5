"""The file of metrics, JSON lines, and TensorBoard where the config asks for it. Only process 0 writes."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np

from palgan_jax.errors import UserError, one_line
from palgan_jax.training.board import Board
from palgan_jax.util.files import write_file

FILE = "metrics.jsonl"  # within a working directory
SECONDS_BETWEEN_SYNCS = 15.0
"""A mounted bucket takes in the whole file each time, so that each line would be too often."""


class MetricsWriter:
    """Appends to WORKDIR/metrics.jsonl, one object a line with its `step`, and to WORKDIR/tensorboard if asked for.

    Lines of steps after `last_step`, which a run that was killed after its last checkpoint leaves, are removed first,
    so that a resumed run leaves the same file as an uninterrupted one. A context manager that closes the files.
    """

    def __init__(self, workdir: Path, last_step: int, tensorboard: bool = False):
        self._file, self._board, self._synced = None, None, time.monotonic()
        self._path = workdir / FILE
        if jax.process_index():
            return
        with _writing(self._path):
            _remove_after(self._path, last_step)
            # Without a buffer: what did not fit on a disk is not tried again when the file is closed.
            self._file = self._path.open("ab", buffering=0)
            if tensorboard:
                self._board = Board(workdir, last_step)

    def write(self, step: int, metrics: dict[str, Any]) -> None:
        """Appends one line of scalars. Raises UserError where it cannot be written."""
        if self._file is None:
            return
        with _writing(self._path):
            line = memoryview(json.dumps({"step": step, **metrics}).encode() + b"\n")
            while line:
                line = line[self._file.write(line) :]
            if self._board is not None:
                self._board.scalars(step, metrics)
        if time.monotonic() - self._synced > SECONDS_BETWEEN_SYNCS:
            self.sync()

    def draw(self, step: int, pictures: dict[str, np.ndarray]) -> None:
        """Shows pictures by name, uint8 (H, W, 3), in TensorBoard."""
        if self._board is not None:
            with _writing(self._path):
                self._board.pictures(step, pictures)

    def sync(self) -> None:
        """Brings to the disk, or to the bucket that is mounted there, what was written. Raises UserError as `write`."""
        self._synced = time.monotonic()
        if self._file is not None:
            with _writing(self._path):
                os.fsync(self._file.fileno())
                if self._board is not None:
                    self._board.sync()

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        with suppress(UserError, OSError) if error else _writing(self._path):
            self.sync()
            for file in (self._file, self._board):
                if file is not None:
                    file.close()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({one_line(error)}): make room, or bring the disk back, and start the same "
            "command again."
        ) from error


def _remove_after(path: Path, last_step: int) -> None:
    if not path.exists():
        return
    kept_lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= last_step:
                kept_lines.append(line)
        except (ValueError, KeyError, TypeError):
            continue  # a line that was cut when the run was killed
    write_file(path, "".join(f"{line}\n" for line in kept_lines).encode())
