"""How many pixels are in hand at once, so that pictures that are worked on at the same time fit into memory."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_BYTES_PER_PIXEL = 33  # of a picture in hand, from its bytes to those of its result
_LEAST_PIXELS = 64_000_000


def pixels_at_once() -> int:
    """Returns how many pixels are in hand at once, so that these take a quarter of the machine's memory at most."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        memory = 0
    return max(_LEAST_PIXELS, memory // 4 // _BYTES_PER_PIXEL)


class PixelBudget:
    """A number of pixels that threads share; one that asks for more than there are gets all of them."""

    def __init__(self, total: int | None = None) -> None:
        """total: of pixels; None for as many as `pixels_at_once` says."""
        total = pixels_at_once() if total is None else total
        self._total = self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def share(self, amount: int) -> Iterator[None]:
        """Waits for so many pixels, and holds them in a `with` body."""
        amount = min(amount, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()
