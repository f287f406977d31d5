"""Small exchanges between the processes of a run, on the host: votes, bytes, and failing together.

All processes have to call the same functions in the same order. With one process each is free and returns its argument.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils

from palgan_jax.errors import UserError


def all_agree(vote: bool) -> bool:
    """Returns True in every process where `vote` is True in all of them."""
    return vote if jax.process_count() == 1 else bool(np.all(_gather(np.int32(vote))))


def any_agree(vote: bool) -> bool:
    """Returns True in every process where `vote` is True in any of them."""
    return vote if jax.process_count() == 1 else bool(np.any(_gather(np.int32(vote))))


def number_of_first(number: int) -> int:
    """Returns the first process's number in every process; it has to fit 32 bits."""
    return number if jax.process_count() == 1 else int(_broadcast(np.int32(number)))


def gather_bytes(data: bytes) -> list[bytes]:
    """Returns the bytes of each process, by its number, in every process."""
    if jax.process_count() == 1:
        return [data]
    sizes = _gather(np.int32(len(data))).reshape(-1)
    padded = np.zeros(max(int(sizes.max()), 1), np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    return [row[:size].tobytes() for row, size in zip(_gather(padded), sizes, strict=True)]


def broadcast_bytes(data: bytes) -> bytes:
    """Returns the first process's bytes in every process; those of the others do not matter."""
    if jax.process_count() == 1:
        return data
    size = number_of_first(len(data))
    content = np.frombuffer(data, np.uint8) if jax.process_index() == 0 else np.zeros(size, np.uint8)
    return _broadcast(content).astype(np.uint8).tobytes()


@contextmanager
def failing_together() -> Iterator[None]:
    """Waits for all processes at the end of a `with` body; a UserError of one is raised in all of them.

    Without it, the others would wait for the failing process in their next collective.
    """
    own_error = None
    try:
        yield
    except UserError as error:
        own_error = error
    sentences = gather_bytes(b"" if own_error is None else str(own_error).encode("utf-8", "surrogateescape"))
    if own_error is not None:
        raise own_error
    if sentence := next(filter(None, sentences), None):
        raise UserError(sentence.decode("utf-8", "surrogateescape"))


def _gather(value: np.ndarray | np.generic) -> np.ndarray:
    with jax.transfer_guard("allow"):
        return np.asarray(multihost_utils.process_allgather(value))


def _broadcast(value: np.ndarray | np.generic) -> np.ndarray:
    with jax.transfer_guard("allow"):
        return np.asarray(multihost_utils.broadcast_one_to_all(value))
