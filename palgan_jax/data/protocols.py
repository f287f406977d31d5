"""What a source of pictures has to offer, so that the pipeline can train on any storage, and an index be made of it."""

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
    """Its share of what is drawn; only the ratios of several count."""


class Source(Protocol):
    """Usable pictures, numbered 0..len-1. Must be picklable: worker processes get a copy, and open files by themselves.

    `read` may be called by several threads at once.
    """

    @property
    def name(self) -> str:
        """As the user wrote it, for messages."""
        ...

    @property
    def sizes(self) -> np.ndarray:
        """int32 (N, 2): width and height of the upright picture."""
        ...

    @property
    def file_bytes(self) -> np.ndarray:
        """int64 (N,): how long each picture is as a file."""
        ...

    @property
    def parts(self) -> tuple[Part, ...]:
        """Returns the ranges that are mixed, one after another; their weights add up to 1."""
        ...

    @property
    def counts(self) -> dict[str, int]:
        """found = used + near_gray + unreadable."""
        ...

    def __len__(self) -> int: ...

    def picture_name(self, i: int) -> str: ...

    def read(self, i: int, *, at_least: int | None = None) -> np.ndarray:
        """Picture i as `picture.read_rgb` gives it; UserError where that fails."""
        ...

    def missing(self) -> str | None:
        """The folder that the pictures are in where there is no such folder any more, else None."""
        ...

    def decoded_bytes(self, at_least: int | None) -> int:
        """What all pictures take in memory, decoded with that `at_least`; an upper bound."""
        ...

    def summary(self) -> str:
        """One line for people: how many pictures, and how many were left out and why."""
        ...

    def identity(self) -> str:
        """16 hexadecimal digits that change with the names, sizes and order of the pictures, and with the parts."""
        ...


class Pictures(Protocol):
    """Encoded pictures somewhere, numbered 0..len-1: files of a folder, records of a set. Picklable."""

    @property
    def title(self) -> str:
        """For the names of files."""
        ...

    @property
    def place(self) -> str:
        """Where they are, in full; no two sets have the same."""
        ...

    @property
    def index_file(self) -> Path | None:
        """Where the index belongs, beside the pictures; None where no file can be."""
        ...

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """What was found but cannot be reached: name, reason."""
        ...

    @property
    def names(self) -> Sequence[str] | None:
        """What each picture is called; None where names are inside the pictures' records, to be read with them."""
        ...

    def __len__(self) -> int: ...

    def picture_name(self, i: int) -> str:
        """The name of picture i, which may mean reading it."""
        ...

    def load(self, i: int) -> tuple[str, bytes]:
        """Name and encoded bytes; UserError, which starts with `label(i)`, where they cannot be read."""
        ...

    def label(self, i: int) -> str:
        """What a sentence on picture i calls it."""
        ...

    def stamps(self) -> np.ndarray:
        """uint64 (N,), one of its own for each picture; another where the picture may have changed."""
        ...

    def digest(self) -> str:
        """Which pictures these are; the same in all processes that see the same set."""
        ...
