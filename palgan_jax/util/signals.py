"""Signals that are answered at once, whatever the main thread is doing."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from palgan_jax.errors import ExitCode

Handler = Callable[[int, FrameType | None], object]

PATIENCE_SECONDS = 1.0
"""How long Python may take for a KeyboardInterrupt, before the process is ended without one."""


@contextmanager
def answered(numbers: Collection[int], answer: Callable[[int], None], handler: Handler) -> Iterator[None]:
    """Calls `answer(number)` for each of the signals that comes in a `with` body, from a thread of its own.

    Python calls `handler` as well, in the main thread, which may be inside a compiler or wait for a device for minutes.
    Signals that the process ignores stay ignored, as jobs in the background of a shell have it. Outside of the main
    thread, where Python allows no handlers, nothing is answered.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    listened = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    thread = threading.Thread(target=_answer_each, args=(reading, listened, answer), name="signals", daemon=True)
    thread.start()
    # Python's handler in C writes the number of each signal to this file, at the moment that it comes.
    outer = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    previous_handlers = {number: signal.signal(number, handler) for number in listened}
    try:
        yield
    finally:
        for number, old in previous_handlers.items():
            signal.signal(number, old)
        signal.set_wakeup_fd(outer)
        os.close(writing)
        thread.join()
        os.close(reading)


def _answer_each(reading: int, listened: Collection[int], answer: Callable[[int], None]) -> None:
    while numbers := os.read(reading, 64):
        for number in numbers:
            if number in listened:
                answer(number)


@contextmanager
def ending_at_ctrl_c() -> Iterator[None]:
    """Makes Ctrl-C in a `with` body end the process soon, also where a compiler keeps the KeyboardInterrupt waiting."""

    def answer(_: int) -> None:
        timer = threading.Timer(PATIENCE_SECONDS, end_process, [ExitCode.INTERRUPTED])
        timer.daemon = True
        timer.start()

    with answered([signal.SIGINT], answer, signal.default_int_handler):
        yield


def end_process(code: int) -> None:
    """Ends the process without waiting for its threads."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
