"""Threads: the number of usable cores, a map over them that keeps the order, and settings that they share."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")
S = TypeVar("S")


def available_cores() -> int:
    """Returns the number of cores that this process may use, which batch systems and containers often limit."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on Windows and macOS
        return os.cpu_count() or 1


def ordered_map(f: Callable[[T], S], items: Iterable[T], workers: int, ahead: int) -> Iterator[S]:
    """Yields f(item) of each item in order, computed by `workers` threads, at most `ahead` items before they are used.

    It pays where `f` releases the interpreter's lock, as reading and decoding files do. An error in `f` is raised in
    the place of its result. Calls that have not begun by then, or when the consumer stops, are canceled.
    """
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[S]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(f, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


class SharedContext:
    """Enters a context with the first of several users at once, and leaves it with the last.

    It is for settings of the whole process: users that each saved and restored one would do so in the wrong order.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Any]]):
        self._make, self._lock, self._users = make, threading.Lock(), 0
        self._context: AbstractContextManager[Any]

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._context = self._make()
                self._context.__enter__()
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._context.__exit__(None, None, None)
