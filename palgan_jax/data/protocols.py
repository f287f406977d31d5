"""The interfaces of pictures: `Pictures`, of which an index can be made, and `Source`, which can be trained on."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np


class Part(NamedTuple):
    """A range of a source's pictures that is drawn from by itself."""

    start: int
    stop: int
    """The last picture + 1."""
    weight: float
    """Its share of the samples, relative to the weights of the other parts."""


class Source(Protocol):
    """Usable pictures, numbered 0..len-1.

    Picklable: worker processes get a copy and open files by themselves. Several threads may call `read` at once.
    """

    @property
    def name(self) -> str:
        """Returns the spec as the user wrote it, for messages."""
        ...

    @property
    def sizes(self) -> np.ndarray:
        """Returns int32 (N, 2): width and height of each upright picture."""
        ...

    @property
    def file_bytes(self) -> np.ndarray:
        """Returns int64 (N,): the size of each picture's file."""
        ...

    @property
    def parts(self) -> tuple[Part, ...]:
        """Returns the ranges that are mixed, one after another; their weights add up to 1."""
        ...

    @property
    def counts(self) -> dict[str, int]:
        """Returns numbers of pictures: "found", which is the sum of "used", "near_gray" and "unreadable"."""
        ...

    def __len__(self) -> int: ...

    def picture_name(self, i: int) -> str:
        """Returns the name of picture i, which no other picture of the source has."""
        ...

    def read(self, i: int, *, at_least: int | None = None) -> np.ndarray:
        """Returns picture i as `decode.read_rgb` does. Raises UserError where that fails."""
        ...

    def missing(self) -> str | None:
        """Returns the folder of the pictures if it has vanished, else None."""
        ...

    def decoded_bytes(self, at_least: int | None) -> int:
        """Computes an upper bound of the memory of all pictures, decoded with that `at_least`."""
        ...

    def summary(self) -> str:
        """Returns a line for people: how many pictures there are, and how many were left out and why."""
        ...

    def identity(self) -> str:
        """Returns 16 hexadecimal digits that change with the pictures' names, sizes and order, and with the parts."""
        ...


class Pictures(Protocol):
    """Encoded pictures in some storage, numbered 0..len-1: files of a folder, records of a set. Picklable."""

    @property
    def title(self) -> str:
        """Returns a short name of the set, for the names of files about it."""
        ...

    @property
    def place(self) -> str:
        """Returns the full path or address of the set, which no other set has."""
        ...

    @property
    def index_file(self) -> Path | None:
        """Returns the path of the index beside the pictures; None where no file can be written there."""
        ...

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """Returns (name, reason) of each file that is listed but cannot be reached."""
        ...

    @property
    def names(self) -> Sequence[str] | None:
        """Returns the pictures' names; None where these are inside records, and have to be read with them."""
        ...

    def __len__(self) -> int: ...

    def picture_name(self, i: int) -> str:
        """Returns the name of picture i, which may mean reading it."""
        ...

    def load(self, i: int) -> tuple[str, bytes]:
        """Returns name and encoded bytes of picture i.

        Raises UserError, whose sentence starts with `label(i)`, where they cannot be read.
        """
        ...

    def label(self, i: int) -> str:
        """Returns the name of picture i in sentences about it."""
        ...

    def stamps(self) -> np.ndarray:
        """Returns uint64 (N,): a number of its own for each picture, which changes where the picture may have."""
        ...

    def digest(self) -> str:
        """Returns a digest of the set, the same in all processes that see the same pictures."""
        ...
