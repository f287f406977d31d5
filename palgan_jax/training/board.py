"""A run for TensorBoard: scalars, sample sheets and palettes, written without TensorFlow."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = "tensorboard"  # within a working directory


class Board:
    """Writes WORKDIR/tensorboard; TensorBoard ignores what earlier starts of the run wrote after `last_step`."""

    def __init__(self, workdir: Path, last_step: int):
        from tensorboardX import SummaryWriter

        self._folder = workdir / FOLDER
        self._writer = SummaryWriter(str(self._folder), purge_step=last_step + 1)

    def scalars(self, step: int, values: dict[str, Any]) -> None:
        """Adds the numbers among the values."""
        for name, value in values.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(name, value, step)

    def pictures(self, step: int, pictures: dict[str, np.ndarray]) -> None:
        """Adds pictures by name, uint8 (H, W, 3) each."""
        for name, picture in pictures.items():
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def sync(self) -> None:
        """Brings to the disk, or to the bucket that is mounted there, what was added."""
        self._writer.flush()
        for path in self._folder.iterdir():
            with suppress(OSError):
                file = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)

    def close(self) -> None:
        """Closes the files."""
        self._writer.close()
