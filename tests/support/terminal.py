"""Commands on a terminal of their own, and what a person sees there."""

import os
import pty
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Sequence

import pyte


class Terminal:
    """A command with its standard streams on a new terminal, which is drawn by pyte.

    `written` is everything that came, with control characters; `lines()` what is on the screen and above it.
    """

    def __init__(self, command: Sequence[str], *, columns: int = 100, **options):
        self._screen = pyte.HistoryScreen(columns, 40, history=10_000, ratio=1.0)
        self._stream, self._lock = pyte.ByteStream(self._screen), threading.Lock()
        self.written = b""
        self._controller, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (40, columns))
        self.process = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True, **options
        )
        os.close(terminal)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._controller, 65536)
            except OSError:  # the last process on the terminal has ended
                return
            with self._lock:
                self.written += piece
                self._stream.feed(piece)

    def lines(self) -> list[str]:
        with self._lock:
            history = ["".join(row[x].data for x in range(self._screen.columns)) for row in self._screen.history.top]
            rows = [*history, *self._screen.display]
        return [row.rstrip() for row in rows if row.strip()]

    def wait_for(self, condition, seconds: float = 240) -> None:
        """Waits until condition() is True, or until that text is seen."""
        if isinstance(text := condition, str):
            condition = lambda: any(text in line for line in self.lines())  # noqa: E731
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None and time.monotonic() < end, self.lines()
            time.sleep(0.02)

    def press_ctrl_c(self) -> None:
        """Sends SIGINT to all processes of the command, as the driver of a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self, seconds: float = 240) -> int:
        """Waits for the command; returns its exit code."""
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self._reader.join()
            os.close(self._controller)
