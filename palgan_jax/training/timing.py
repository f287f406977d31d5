"""Times of the loop between two lines of metrics, and a warning where the devices wait for input."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

WAIT_SHARE = 0.1
"""The largest share of a step that may be spent waiting for input without a warning."""
QUEUED = 2
"""Steps that may be started and not finished, so that times are true and memory is bounded."""


class MetricsWindow:
    """Measures speed and input since the last line of metrics; a context manager that ends its thread.

    Args:
      batch_size: of all processes together.
      file_bytes: (N,), the size of each picture's file.
      decoders: worker processes or threads that read and decode in this process.
    """

    def __init__(self, batch_size: int, file_bytes: np.ndarray, decoders: int):
        self._batch_size = batch_size
        self._file_bytes, self._decoders = file_bytes, decoders
        self._watcher = ThreadPoolExecutor(1, "end-of-step")
        self.paused = Stopwatch()
        """Enter it for work other than training: validation, sheets, checkpoints."""
        self._restart()

    def __enter__(self) -> "MetricsWindow":
        return self

    def __exit__(self, *_: object) -> None:
        self._watcher.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Notes the time inside `with` as waiting for input."""
        start = time.monotonic()
        yield
        self._waits.append((len(self._ends), start, time.monotonic()))

    def _restart(self) -> None:
        self._start = time.monotonic()
        self._ends: list[Future[float]] = []  # when the devices finished each step
        self._waits: list[tuple[int, float, float]] = []  # steps started before, start, end
        self.paused.seconds = 0.0
        self._replaced = self._pictures = self._bytes = 0
        self._busy = 0.0

    def add(self, metrics: dict[str, jax.Array], local: dict[str, np.ndarray]) -> None:
        """Adds a step that was started, with its metrics and this process's share of its batch.

        Waits where more than QUEUED steps are not finished.
        """
        self._ends.append(self._watcher.submit(_time_when_ready, metrics["loss/g"]))
        self._replaced += int(np.sum(local["replaced"] >= 0))
        self._pictures += len(local["index"])
        self._bytes += int(np.sum(self._file_bytes[local["index"]]))
        self._busy += float(np.sum(local["seconds"]))
        if len(self._ends) > QUEUED:
            self._ends[-QUEUED - 1].result()

    @property
    def unfinished(self) -> int:
        """Returns how many of the steps that were started are not done yet."""
        return sum(not end.done() for end in self._ends[-QUEUED:])  # `add` has waited for those before

    def close(self, metrics: dict[str, jax.Array]) -> dict[str, Any]:
        """Returns the line of metrics of this step, with means over the steps since the last line:

        images_per_second: pictures trained on, over all processes, while not paused.
        step_seconds: time of a step.
        input_wait_seconds: time of a step in which the devices had nothing to do but to wait for a batch.
        input_wait_share: the same as a share of the step.
        input_decoder_use: share of the decoders' time spent on reading, decoding and cropping.
        input_images_per_second: pictures that the decoders would make if they never had to wait.
        input_megabytes_per_second: size of these pictures' files, read now or kept in memory.
        replaced_pictures: pictures of these batches that others stand in for because they cannot be read.
        """
        line: dict[str, Any] = {name: float(value) for name, value in jax.device_get(metrics).items()}
        seconds = max(time.monotonic() - self._start - self.paused.seconds, 1e-9)
        steps, idle = len(self._ends), _idle(self._waits, [end.result() for end in self._ends])
        line["images_per_second"] = steps * self._batch_size / seconds
        line["step_seconds"] = seconds / steps
        line["input_wait_seconds"] = idle / steps
        line["input_wait_share"] = idle / seconds
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
    """Returns the seconds of waiting for input in which the devices had finished all started steps."""
    return sum(max(0.0, end - max(start, ends[steps - 1] if steps else start)) for steps, start, end in waits)


class InputWatch:
    """Warns once each time that the devices begin to wait for input."""

    def __init__(self) -> None:
        self._first, self._waiting = True, False

    def warning(self, line: dict[str, Any]) -> str | None:
        """Returns a sentence where the devices wait and did not at the line before; None at the first, a cold start."""
        sentence = None if self._first else bottleneck(line)
        warning = None if self._waiting else sentence
        self._first, self._waiting = False, sentence is not None
        return warning


def bottleneck(line: dict[str, Any]) -> str | None:
    """Returns why the devices wait for input, as a sentence, where a line of metrics shows that they do; else None."""
    share, use = line["input_wait_share"], line["input_decoder_use"]
    if share <= WAIT_SHARE:
        return None
    possible = line["images_per_second"] / jax.process_count() / (1 - min(share, 0.99))
    finding = f"the devices wait for input {share:.0%} of the time"
    if use > 0.5:
        return (
            f"{finding}, because reading and decoding are busy {use:.0%} of theirs: they make at most "
            f"{line['input_images_per_second']:.0f} pictures a second here, where the devices could take some "
            f"{possible:.0f}. Give it more cores (--config.data.workers) or smaller files."
        )
    return (
        f"{finding}, although reading and decoding are busy only {use:.0%} of theirs: moving batches into this process "
        "takes long. Try another --config.data.workers (0 decodes in threads)."
    )


class Stopwatch:
    """Adds up the seconds spent inside `with`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.monotonic() - self._start
