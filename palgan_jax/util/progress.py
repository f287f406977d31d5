"""Progress of long work: a bar with rate and time left on a terminal, plain lines in a log."""

import logging
import sys
import time

import jax
from tqdm import tqdm

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Counts up to `total`. On a terminal it draws a bar; elsewhere it writes a line every half minute."""

    def __init__(self, title: str, total: int, done: int = 0, unit: str = "step"):
        self._title, self._total, self._done, self._unit = title, total, done, unit
        self._start, self._first, self._last_line = time.monotonic(), done, time.monotonic()
        quiet = jax.process_index() > 0 or not sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=done, desc=title, unit=unit, disable=quiet, dynamic_ncols=True)
        self._lines = quiet and jax.process_index() == 0

    def advance(self, note: str = "") -> None:
        """One more is done; `note` is shown beside the count."""
        self._done += 1
        self._bar.update()
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        now = time.monotonic()
        if self._lines and (now - self._last_line > SECONDS_BETWEEN_LINES or self._done == self._total):
            self._last_line = now
            rate = (self._done - self._first) / max(now - self._start, 1e-9)
            left = (self._total - self._done) / max(rate, 1e-9)
            log.info(
                "%s %d/%d, %.2f %s/s, %d:%02d left%s",
                self._title, self._done, self._total, rate, self._unit, left // 60, left % 60,
                f", {note}" if note else "",
            )  # fmt: skip

    def close(self) -> None:
        """Ends the bar's line."""
        self._bar.close()


class ProgressOfLooking:
    """What `open_source` calls with (done, total): a bar for each set, or part of a mixture, that is looked at."""

    def __init__(self, title: str):
        self._title = title
        self._bar: Progress | None = None

    def __call__(self, done: int, total: int) -> None:
        if done == 1:
            self._bar = Progress(f"looking at {self._title}", total, unit="picture")
        if self._bar is not None:
            self._bar.advance()
            if done == total:
                self._bar.close()
