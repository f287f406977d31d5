"""How wide work may run on this machine."""

import os


def available_cores() -> int:
    """The cores that this process may use, which batch systems and containers often make fewer than there are."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on Windows and macOS
        return os.cpu_count() or 1
