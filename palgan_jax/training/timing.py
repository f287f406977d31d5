"""What happens in the loop between two lines of metrics: times, and losses that nobody has looked at yet."""

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from palgan_jax.checkpoint.saving import Checkpoints
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
        self._watcher = ThreadPoolExecutor(1, "end-of-step")
        self._ends: list[Future[float]] = []  # when the devices finished each step
        self._waits: list[tuple[int, float, float]] = []  # steps started before, start, end
        self.paused = Stopwatch()
        """Entered for what is not training: validation, sheets, checkpoints."""
        self._restart()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Entered while the loop waits for input."""
        start = time.monotonic()
        yield
        self._waits.append((len(self._ends), start, time.monotonic()))

    def _restart(self) -> None:
        self._start, self._steps = time.monotonic(), 0
        self._ends, self._waits = [], []
        self.paused.seconds = 0.0
        self._replaced = self._pictures = self._bytes = 0
        self._busy = 0.0

    def add(self, step: int, metrics: dict[str, jax.Array], local: dict[str, np.ndarray]) -> None:
        """Takes note of a step that was started, with its metrics and this process's share of its batch."""
        self._steps += 1
        self._unchecked.append((step, {name: metrics[name] for name in TELLING}))
        self._ends.append(self._watcher.submit(_time_when_ready, metrics[TELLING[0]]))
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

        input_wait_share: of the time, in which the devices had nothing to do but to wait for a batch.
        input_decoder_use: of the decoders' time, spent on reading, decoding and cropping.
        input_images_per_second: what the decoders would make if they never had to wait.
        input_megabytes_per_second: of the files of these pictures, whether read or still in memory.
        """
        line: dict[str, Any] = {name: float(value) for name, value in jax.device_get(metrics).items()}
        seconds = max(time.monotonic() - self._start - self.paused.seconds, 1e-9)
        line["images_per_second"] = self._steps * self._batch_size / seconds
        line["step_seconds"] = seconds / self._steps
        starved = _idle(self._waits, [end.result() for end in self._ends])
        line["input_wait_seconds"] = starved / self._steps
        line["input_wait_share"] = starved / seconds
        # What is done ahead counts once it is used, so that a short line may hold more than its time.
        line["input_decoder_use"] = min(self._busy / (seconds * self._decoders), 1.0)
        line["input_images_per_second"] = self._pictures * self._decoders / max(self._busy, 1e-9)
        line["input_megabytes_per_second"] = self._bytes / seconds / 1e6
        line["replaced_pictures"] = self._replaced
        self._restart()
        return line


def _time_when_ready(x: jax.Array) -> float:
    x.block_until_ready()
    return time.monotonic()


def _idle(waits: Sequence[tuple[int, float, float]], ends: Sequence[float]) -> float:
    """Seconds of waiting for input in which the devices had finished all that was started."""
    return sum(max(0.0, end - max(start, ends[steps - 1] if steps else start)) for steps, start, end in waits)


class InputWatch:
    """Looks at each line of metrics, and says when the devices begin to wait for input."""

    def __init__(self) -> None:
        self._cold, self._starved = True, False

    def look(self, line: dict[str, Any]) -> str | None:
        """A sentence where the devices wait and did not at the line before. The first line is that of a cold start."""
        sentence = None if self._cold else bottleneck(line)
        news = None if self._starved else sentence
        self._cold, self._starved = False, sentence is not None
        return news


def bottleneck(line: dict[str, Any]) -> str | None:
    """Where a line of metrics shows that the devices wait for input: a sentence that says why. Else None."""
    share, use = line["input_wait_share"], line["input_decoder_use"]
    if share <= WAIT_SHARE:
        return None
    wanted = line["images_per_second"] / jax.process_count() / (1 - min(share, 0.99))
    waits = f"the devices wait for input {share:.0%} of the time"
    if use > 0.5:
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
