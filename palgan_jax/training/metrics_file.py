"""The file of metrics, JSON lines, and TensorBoard where the config asks for it. Only process 0 writes."""

import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

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
        if jax.process_index():
            return
        path = workdir / FILE
        _remove_after(path, last_step)
        self._file = path.open("a", encoding="utf-8")
        if tensorboard:
            self._board = Board(workdir, last_step)

    def write(self, step: int, metrics: dict[str, Any]) -> None:
        """Appends one line of scalars."""
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        if self._board is not None:
            self._board.scalars(step, metrics)
        if time.monotonic() - self._synced > SECONDS_BETWEEN_SYNCS:
            self.sync()

    def draw(self, step: int, pictures: dict[str, np.ndarray]) -> None:
        """Shows pictures by name, uint8 (H, W, 3), in TensorBoard."""
        if self._board is not None:
            self._board.pictures(step, pictures)

    def sync(self) -> None:
        """Brings to the disk, or to the bucket that is mounted there, what was written."""
        self._synced = time.monotonic()
        if self._file is not None:
            os.fsync(self._file.fileno())
        if self._board is not None:
            self._board.sync()

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self.sync()
        for file in (self._file, self._board):
            if file is not None:
                file.close()


def _remove_after(path: Path, last_step: int) -> None:
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= last_step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue  # a line that was cut when the run was killed
    write_file(path, "".join(f"{line}\n" for line in kept).encode())
