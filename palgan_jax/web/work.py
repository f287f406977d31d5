"""The work of a server: one thread for previews and one for whole pictures, and nothing that nobody waits for."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_LOOK_EVERY = 0.3  # seconds, for whether somebody waits


class Superseded(Exception):
    """A newer wish of the same kind has come, or nobody waits any more."""


class Work:
    """Two queues. Of previews of one picture, only the newest one waits; whole pictures are done one after another."""

    def __init__(self) -> None:
        self._quick = ThreadPoolExecutor(1, "previews")
        self._slow = ThreadPoolExecutor(1, "pictures")
        self._waiting: dict[Hashable, Future] = {}

    async def preview(self, key: Hashable, do: Callable[[], T], is_left: Callable[[], Awaitable[bool]]) -> T:
        """Does what is quick. Raises Superseded where a newer call with the same key comes before it has begun."""
        if previous := self._waiting.get(key):
            previous.cancel()
        future = self._waiting[key] = self._quick.submit(do)
        try:
            return await _result(future, is_left)
        finally:
            if self._waiting.get(key) is future:
                del self._waiting[key]

    async def whole(self, do: Callable[[], T], is_left: Callable[[], Awaitable[bool]]) -> T:
        """Does what takes long and much memory. Raises Superseded where the one who waits leaves before it begins."""
        return await _result(self._slow.submit(do), is_left)


async def _result(future: "Future[T]", is_left: Callable[[], Awaitable[bool]]) -> T:
    """Waits for the result of work, and cancels what has not begun when the one who waits leaves."""
    waiter = asyncio.wrap_future(future)
    try:
        while not (await asyncio.wait([waiter], timeout=_LOOK_EVERY))[0]:
            if await is_left():
                future.cancel()
        return waiter.result()
    except (CancelledError, asyncio.CancelledError):
        if future.cancelled():
            raise Superseded from None
        raise
