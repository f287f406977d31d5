"""The file of metrics, JSON lines, and TensorBoard where the config asks for it. Only process 0 writes."""

import json
from pathlib import Path
from typing import Any

import jax

from palgan_jax.util.files import write_file


class MetricsWriter:
    """Appends to WORKDIR/metrics.jsonl, one object a line with its `step`, and to WORKDIR/tensorboard if asked for.

    Lines of steps after `last_step`, which a run that was killed after its last checkpoint leaves, are removed first,
    so that a resumed run leaves the same file as an uninterrupted one. A context manager that closes the files.
    """

    def __init__(self, workdir: Path, last_step: int, tensorboard: bool = False):
        self._file, self._board = None, None
        if jax.process_index():
            return
        path = workdir / "metrics.jsonl"
        _remove_after(path, last_step)
        self._file = path.open("a", encoding="utf-8")
        if tensorboard:
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=last_step + 1)

    def write(self, step: int, metrics: dict[str, Any]) -> None:
        """Appends one line of scalars."""
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in metrics.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(name, value, step)

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
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
