"""Stopping on request: SIGTERM or Ctrl-C to any process of a run makes all of them save the same step and end."""

import os
import signal
from types import FrameType

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Turns SIGTERM and the first Ctrl-C, in a `with` body, into a request that the loop looks up between steps."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        # With several processes JAX's own service listens for SIGTERM, because all have to agree on the step.
        listened = [signal.SIGINT] if jax.process_count() > 1 else [signal.SIGINT, signal.SIGTERM]
        for number in listened:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _: FrameType | None) -> None:
        # A second Ctrl-C ends at once.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.signal = number

    def asked(self, step: int) -> bool:
        """Returns whether to stop after this step. All processes have to ask at the same steps."""
        if jax.process_count() == 1:
            return self.signal is not None
        if multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
        return self.signal is not None
