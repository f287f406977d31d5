"""A limit of the time that reading one picture may take, so that it costs itself alone and not the whole batch."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from palgan_jax.errors import UserError

SECONDS = 60.0
"""For any picture: many times what sound ones of the slowest formats take on a busy machine."""
SECONDS_PER_MEGAPIXEL = 3.0

T = TypeVar("T")


def within_time(reading: Callable[[], T], name: str, pixels: int) -> T:
    """Returns reading(), which decodes a picture of so many pixels.

    Decoders cannot be stopped from outside: one that takes longer is left to itself, on a thread that does not keep the
    process from ending. Raises UserError then.
    """
    result: list[Any] = []

    def run() -> None:
        try:
            result.append((reading(), None))
        except BaseException as error:
            result.append((None, error))

    limit = SECONDS + SECONDS_PER_MEGAPIXEL * pixels / 1e6
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    if not result:
        raise UserError(f"{name} takes more than {limit:.0f} s to read: save it anew.")
    value, error = result[0]
    if error is not None:
        raise error
    return value
