"""Memory: how much a device or this process may take, and whether an error is the lack of it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from palgan_jax.errors import UserError
from palgan_jax.util.text import in_words

_CGROUP = Path("/sys/fs/cgroup")


def lacks_memory(error: BaseException | None) -> bool:
    """Returns whether an error, or one that caused it, says that the memory of a device or of this process ran out."""
    if isinstance(error, UserError):  # somebody has found the words already
        return False
    while error is not None:
        text = str(error)
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "Out of memory" in text:
            return True
        error = error.__cause__
    return False


@contextmanager
def memory_may_run_out(work: str, advice: str) -> Iterator[None]:
    """Turns a lack of memory, in a `with` body, into a UserError: what it was that lacked it, and what to do."""
    try:
        yield
    except Exception as error:
        if not lacks_memory(error):
            raise
        match = re.search(r"allocating (\d+) bytes", str(error))
        amount = f" ({in_words(int(match[1]))} more at once)" if match else ""
        raise UserError(f"{work} needs more memory than there is{amount}: {advice}.") from error


def needed_and_there(text: str) -> tuple[float, float] | None:
    """Returns the bytes that a program needs and those that there are, from libtpu's message; None from others."""
    match = re.search(r"\((\S+)\) exceeds available HBM \((\S+)\)|Used (\S+) of (\S+) hbm", text)
    sizes = [size for size in match.groups() if size] if match else []
    with suppress(ValueError):
        return (_bytes(sizes[0]), _bytes(sizes[1])) if sizes else None
    return None


def _bytes(size: str) -> float:
    units = {"K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}
    return float(size.rstrip("KMGTiB")) * units.get(size.rstrip("iB")[-1:], 1.0)


def memory_of(device: Any, *, free: bool = False) -> int | None:
    """Returns the bytes that programs may take of a device of JAX, in all; None where nobody knows.

    A CPU has what this process may still take: of the machine, of its control group, and of `ulimit -v`. `free` leaves
    out what other processes take at present.
    """
    if device.platform == "cpu":
        return memory_of_process(free=free)
    stats = device.memory_stats() or {}
    return stats.get("bytes_limit")


def memory_of_process(*, free: bool = False) -> int | None:
    """Returns the bytes that this process may still take at most; None on systems that do not say."""
    limits = [*_machine(free), *_control_group(free), *_address_space()]
    return min(limits, default=None)


def _machine(free: bool) -> list[int]:
    if free:
        with suppress(OSError, StopIteration, ValueError):
            lines = Path("/proc/meminfo").read_text().splitlines()
            return [1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])]
    with suppress(AttributeError, ValueError, OSError):
        return [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    return []


def _control_group(free: bool) -> list[int]:
    """Reads the limit of a container."""
    versions = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    for limit, usage in versions:
        with suppress(OSError, ValueError):  # "max" is no number
            return [int((_CGROUP / limit).read_text()) - (int((_CGROUP / usage).read_text()) if free else 0)]
    return []


def _address_space() -> list[int]:
    with suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            return [max(limit - size, 0)]
    return []
