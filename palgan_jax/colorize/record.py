"""The record beside the results: which of them were made from what, with which settings.

It is a file of JSON lines in each folder that results were written to. Lines are only appended, each in one piece, so
that several commands may write into one folder at once, and one that is killed loses nothing. What a line holds is
never trusted further than to skip a picture or to leave a result aside.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from errno import ENOSPC
from pathlib import Path
from typing import Any

import numpy as np

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.errors import UserError, one_line
from palgan_jax.util.files import file_sha256
from palgan_jax.util.trees import flatten

RECORD_FILE = ".palgan-results.jsonl"
_LONGEST_LINE = 20_000


@dataclass(frozen=True)
class Entry:
    """One result.

    Attributes:
      result: its name in the folder.
      source: the identity of the picture that it was made from (`inputs.Source`).
      source_bytes, source_sha256: that picture's size and digest.
      settings: the digest of the settings.
      result_bytes, result_sha256: the result's own size and digest.
    """

    result: str
    source: str
    source_bytes: int
    source_sha256: str
    settings: str
    result_bytes: int
    result_sha256: str


class Records:
    """The records of all folders that one command reads or writes; each file is read once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, Entry]] = {}

    def of(self, folder: Path) -> Mapping[str, Entry]:
        """Returns the latest entry of each result of a folder, by name; none where the record cannot be read."""
        if folder not in self._folders:
            self._folders[folder] = {entry.result: entry for entry in _entries(folder / RECORD_FILE)}
        return self._folders[folder]

    def add(self, folder: Path, entry: Entry) -> None:
        """Appends an entry to the record of a folder. Raises UserError where it cannot be written."""
        self.of(folder)
        line = json.dumps(asdict(entry)) + "\n"
        path = folder / RECORD_FILE
        try:
            if path.exists() and not path.is_file():
                raise OSError("it is no file")
            with path.open("a+b", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - 1))
                # A command that was killed may have left half a line.
                begin = b"\n" if file.read(1) not in (b"", b"\n") else b""
                # One write, since other commands may be appending as well.
                if file.write(data := begin + line.encode("ascii")) < len(data):
                    raise OSError(ENOSPC, os.strerror(ENOSPC))
        except OSError as error:
            raise UserError(f"{path} cannot be written ({one_line(error)}): choose another place.") from error
        self._folders[folder][entry.result] = entry

    def has_written(self, path: Path) -> bool:
        """Returns True where a file is a result as it was written, by its digest."""
        entry = self.of(path.parent).get(path.name)
        try:
            return (
                entry is not None
                and path.stat().st_size == entry.result_bytes
                and file_sha256(path) == entry.result_sha256
            )
        except OSError:
            return False


def _entries(path: Path) -> Iterator[Entry]:
    """Yields the entries of a record, but for lines that are damaged or none of ours."""
    if not path.is_file():  # a pipe would be waited for
        return
    try:
        with path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                if (entry := _entry(line)) is not None:
                    yield entry
    except OSError:
        return


def _entry(line: bytes) -> Entry | None:
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    types = {field.name: field.type for field in fields(Entry)}
    if not isinstance(values, dict) or set(values) != set(types):
        return None
    if any(type(value) is not types[name] for name, value in values.items()):
        return None
    return Entry(**values)


def settings_digest(model: str, painting: str, kind: str, quality: int | None) -> str:
    """Returns a digest of all that decides what is made of a picture.

    Args:
      model: the digest of the weights.
      painting: the digest of how it is painted.
      kind: the format of the result.
      quality: its quality, where the format has one.
    """
    # A change of what is written for the same input takes another number.
    text = json.dumps([5, model, painting, kind, quality])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def weights_digest(weights: Weights) -> str:
    """Returns a digest of weights and their config, wherever they lie."""
    digest = hashlib.sha256(json.dumps(weights.config, sort_keys=True, default=str).encode())
    flat = flatten(weights.variables)
    for path in sorted(flat):
        array = np.asarray(flat[path])
        digest.update(f"{path} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
