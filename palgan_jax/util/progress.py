"""Progress of long work: a bar with rate and time left on a terminal, plain lines in a log."""

import logging
import sys
import threading
import time
from typing import Any

from tqdm import tqdm

from palgan_jax.util.text import in_words

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Counts up to `total`. On a terminal it draws a bar; a log has a line every half minute.

    A context manager, which ends the bar's line. `unit`: what is counted; "B" for bytes. `shown`: False for all but one
    of several processes at the same work. `last_line`: whether a log gets a line at the end, too.
    """

    def __init__(
        self, title: str, total: int, done: int = 0, unit: str = "step", shown: bool = True, last_line: bool = True
    ):
        self._title, self._total, self._done, self._unit = title, total, done, unit
        self._start, self._first, self._last_line = time.monotonic(), done, time.monotonic()
        self._bar = tqdm(
            total=total, initial=done, desc=title, unit=unit, unit_scale=unit == "B", dynamic_ncols=True,
            disable=not (shown and sys.stderr.isatty()),
        )  # fmt: skip
        self._shown, self._last = shown, total if last_line else -1

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def advance(self, note: str = "", count: int = 1) -> None:
        """Counts one more, or `count` more, which is negative for what has to be done again; shows `note` beside it."""
        self.reach(self._done + count, note)

    def reach(self, done: int, note: str = "") -> None:
        """Counts up to `done`, which is what is done by now; shows `note` beside it."""
        increase, self._done = done - self._done, done
        self._bar.update(increase)
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        now = time.monotonic()
        if self._shown and (now - self._last_line > SECONDS_BETWEEN_LINES or (increase and self._done == self._last)):
            self._last_line = now
            rate = (self._done - self._first) / max(now - self._start, 1e-9)
            seconds_left = (self._total - self._done) / max(rate, 1e-9)
            note = f", {note}" if note else ""
            log.info(
                "%s %s, %d:%02d left%s", self._title, self._counts(rate), seconds_left // 60, seconds_left % 60, note
            )

    def _counts(self, rate: float) -> str:
        """Returns what is done, of how much, and the rate."""
        if self._unit == "B":
            return f"{in_words(self._done)}/{in_words(self._total)}, {in_words(rate)}/s"
        return f"{self._done}/{self._total}, {rate:.2f} {self._unit}/s"

    def close(self) -> None:
        """Ends the bar's line."""
        self._bar.close()


class Waiting:
    """Shows for how long work without a count has gone on: seconds that run on a terminal, a line in a log.

    A context manager. `shown`: as for `Progress`.
    """

    def __init__(self, title: str, shown: bool = True):
        self._title, self._shown, self._end = title, shown, threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        if self._shown:
            log.info("%s ...", self._title)
        if self._shown and sys.stderr.isatty():
            self._bar = tqdm(desc=self._title, bar_format="{desc}, {elapsed}", leave=False, dynamic_ncols=True)
            self._thread = threading.Thread(target=self._tick, name="waiting", daemon=True)
            self._thread.start()

    def _tick(self) -> None:
        while not self._end.wait(1.0):
            self._bar.refresh()

    def __exit__(self, *_: Any) -> None:
        if self._thread is not None:
            self._end.set()
            self._thread.join()
            self._bar.close()


class ScanProgress:
    """Shows the progress of `open_source`, which calls it with (done, total) for each set, or part of a mixture."""

    def __init__(self, title: str, shown: bool = True):
        self._title, self._shown = title, shown
        self._bar: Progress | None = None

    def __call__(self, done: int, total: int) -> None:
        if done == 1:
            self._bar = Progress(f"looking at {self._title}", total, unit="picture", shown=self._shown)
        if self._bar is not None:
            self._bar.advance()
            if done == total:
                self._bar.close()
