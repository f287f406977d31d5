"""Waiting for what other threads and processes do."""

import subprocess
import time
from collections.abc import Callable

PATIENCE = 600
"""Seconds after which what a test waits for will not come; a busy machine is slow."""


def wait_for(condition: Callable[[], object], process: subprocess.Popen | None = None, every: float = 0.02) -> None:
    """Looks each so many seconds until condition() holds, while the process, if one is given, runs."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "nothing happened"
        time.sleep(every)
