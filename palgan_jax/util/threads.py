"""Threads: the number of usable cores, and a map over them that keeps the order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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

    It pays where `f` releases the interpreter's lock, as reading and decoding files do. An error in `f` is raised where
    its result would have come. What has not begun by then, or when the consumer stops, is cancelled.
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
