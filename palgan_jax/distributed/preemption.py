"""Stopping on request: SIGTERM or Ctrl-C to any process of a run makes all of them save the same step and end."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import jax
from jax.experimental import multihost_utils

from palgan_jax.errors import ExitCode
from palgan_jax.util.signals import answered, end_process

log = logging.getLogger(__name__)

ONE_PRESS_SECONDS = 0.5
"""SIGINTs that follow each other faster are one Ctrl-C: wrappers of commands pass on what the terminal sent already."""


class StopRequest:
    """Takes signals, in a `with` body, for a request that a loop looks up between its steps, and answers them at once.

    1. The first SIGTERM, Ctrl-C, or hang-up of the terminal: the loop ends after its step, and saves.
    2. Another Ctrl-C gives up what is not saved: the process ends as soon as a save that has begun is whole. Where it
       is the last save that has begun, nothing is given up.
    3. One more ends the process where it is.

    Args:
      unit: what the loop counts, such as "step".
      saved: returns how far the work is saved, such as "step 400".
      settle: returns once a save that has begun is whole; called from another thread.
    """

    def __init__(self, unit: str, progress: Callable[[], str], settle: Callable[[], None] = lambda: None):
        self._unit, self._progress, self._settle = unit, progress, settle
        self._lock, self._listening = threading.Lock(), ExitStack()
        self._has_signal = self._requested = self._saving = self._given_up = False
        self._presses, self._last_press = 0, -ONE_PRESS_SECONDS
        self._several = jax.process_count() > 1

    def __enter__(self) -> "StopRequest":
        # With several processes JAX's own service listens for SIGTERM, because all have to agree on the step.
        numbers = [signal.SIGINT, signal.SIGHUP, *([] if self._several else [signal.SIGTERM])]
        self._listening.enter_context(answered(numbers, self._answer, self._note))
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def _note(self, *_: object) -> None:
        # Also here, so that the main thread finds what it has sent itself.
        self._has_signal = True

    def _answer(self, number: int) -> None:
        with self._lock:
            if number == signal.SIGINT:
                now = time.monotonic()
                if now - self._last_press < ONE_PRESS_SECONDS:
                    return
                self._last_press = now
            if not self._requested:
                self._request()
                return
            if number != signal.SIGINT:  # a scheduler may send it twice, and means the same
                return
            self._presses += 1
            if self._presses > 1:
                end_process(ExitCode.INTERRUPTED)
            if self._saving:
                log.warning("still saving; Ctrl-C once more breaks it off")
                return
            self._given_up = True
        log.warning("giving up what came after %s", self._progress())
        threading.Thread(target=self._end, name="give-up", daemon=True).start()

    def _request(self) -> None:
        log.warning(
            "stopping after this %s, and saving; Ctrl-C once more gives up what came after %s",
            self._unit, self._progress(),
        )  # fmt: skip
        self._requested = True
        if self._several:
            os.kill(os.getpid(), signal.SIGTERM)

    def _end(self) -> None:
        try:
            self._settle()
        finally:
            end_process(ExitCode.INTERRUPTED)

    def is_requested(self, step: int) -> bool:
        """Returns whether to stop after this step. All processes have to ask at the same steps."""
        if not self._several:
            return self._has_signal
        if multihost_utils.reached_preemption_sync_point(step):
            self._requested = True
            return True
        return False

    def begin_last_save(self) -> None:
        """Says that what was done is saved from here on. Raises KeyboardInterrupt where it was given up before."""
        with self._lock:
            if self._given_up:
                raise KeyboardInterrupt
            self._saving = True
