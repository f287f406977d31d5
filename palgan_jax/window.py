"""What happens in the loop between two lines of metrics: times, and losses that nobody has looked at yet."""

import math
import time
from typing import Any

import jax
import numpy as np

from palgan_jax.checkpoint import Checkpoints
from palgan_jax.errors import UserError

TELLING = ("loss/g", "loss/d", "grad_norm/g", "grad_norm/d")
"""Where any of these is not finite, the parameters are about to be."""


WAIT_SHARE = 0.1
"""Of a step; where the wait for input takes more, somebody should know."""


class MetricsWindow:
    """What happened since the last line of metrics: times, and losses that nobody has looked at yet.

    `batch_size` is that of all processes together, `file_bytes` (N,) the size of each picture's file, and `decoders`
    how many worker processes or threads read and decode in this process.
    """

    def __init__(self, batch_size: int, file_bytes: np.ndarray, decoders: int):
        self._batch_size = batch_size
        self._file_bytes, self._decoders = file_bytes, decoders
        self._unchecked: list[tuple[int, dict[str, jax.Array]]] = []
        self._restart()

    def _restart(self) -> None:
        self._start, self._wait, self._steps = time.monotonic(), Stopwatch(), 0
        self._pause = Stopwatch()
        self._replaced = self._pictures = self._bytes = 0
        self._busy = 0.0

    def waiting(self) -> "Stopwatch":
        """Times the wait for input."""
        return self._wait

    def paused(self) -> "Stopwatch":
        """Leaves out what is not training: validation, sheets, checkpoints."""
        return self._pause

    def add(self, step: int, metrics: dict[str, jax.Array], local: dict[str, np.ndarray]) -> None:
        """Takes note of a step that was started, with its metrics and this process's share of its batch."""
        self._steps += 1
        self._unchecked.append((step, {name: metrics[name] for name in TELLING}))
        self._replaced += int(np.sum(local["replaced"] >= 0))
        self._pictures += len(local["index"])
        self._bytes += int(np.sum(self._file_bytes[local["index"]]))
        self._busy += float(np.sum(local["seconds"]))
        # No more than two steps are queued, so that times are true and memory is bounded.
        if len(self._unchecked) > 2:
            jax.block_until_ready(self._unchecked[-3])

    def check_finite(self, checkpoints: Checkpoints) -> None:
        """Raises UserError at the first step that was not finite, so that no state after it is ever saved."""
        for number, values in jax.device_get(self._unchecked):
            broken = [name for name, value in values.items() if not math.isfinite(value)]
            if broken:
                checkpoints.wait()
                good = checkpoints.latest_step
                kept = f"the checkpoint of step {good} is kept" if good is not None else "there is no checkpoint yet"
                raise UserError(
                    f"training is not finite at step {number} ({', '.join(broken)}) and stops, {kept}: "
                    "lower --config.optim.g_lr and --config.optim.d_lr, or use --config.precision=float32."
                )
        self._unchecked.clear()

    def close(self, metrics: dict[str, jax.Array]) -> dict[str, Any]:
        """The line of metrics of this step, with the times since the last one, and what this process's input did:

        input_wait_share: of the time, spent on waiting for a batch.
        input_decoder_use: of the decoders' time, spent on reading, decoding and cropping.
        input_images_per_second: what the decoders would make if they never had to wait.
        input_megabytes_per_second: read from files.
        """
        line: dict[str, Any] = {name: float(value) for name, value in jax.device_get(metrics).items()}
        seconds = max(time.monotonic() - self._start - self._pause.seconds, 1e-9)
        line["images_per_second"] = self._steps * self._batch_size / seconds
        line["step_seconds"] = seconds / self._steps
        line["input_wait_seconds"] = self._wait.seconds / self._steps
        line["input_wait_share"] = self._wait.seconds / seconds
        line["input_decoder_use"] = self._busy / (seconds * self._decoders)
        line["input_images_per_second"] = self._pictures * self._decoders / max(self._busy, 1e-9)
        line["input_megabytes_per_second"] = self._bytes / seconds / 1e6
        line["replaced_pictures"] = self._replaced
        self._restart()
        return line


def bottleneck(line: dict[str, Any]) -> str | None:
    """Where a line of metrics shows that the devices wait for input: a sentence that says why. Else None."""
    share, use = line["input_wait_share"], line["input_decoder_use"]
    if share <= WAIT_SHARE:
        return None
    wanted = line["images_per_second"] / jax.process_count() / (1 - min(share, 0.99))
    waits = f"the devices wait for input {share:.0%} of the time"
    if use > 0.8:
        return (
            f"{waits}, because reading and decoding are busy {use:.0%} of theirs: they make at most "
            f"{line['input_images_per_second']:.0f} pictures a second here, where the devices could take some "
            f"{wanted:.0f}. Give it more cores (--config.data.workers) or smaller files."
        )
    return (
        f"{waits}, although reading and decoding are busy only {use:.0%} of theirs: what takes long is the way of the "
        "batches into this process. Try another --config.data.workers (0 decodes in threads)."
    )


class Stopwatch:
    """Adds up the seconds spent inside `with`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.monotonic() - self._start
