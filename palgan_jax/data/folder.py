"""Lists picture files: those under a folder, or those that a text file names."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from palgan_jax.data.decode import read_bytes
from palgan_jax.data.formats import PICTURE_SUFFIXES
from palgan_jax.errors import UserError
from palgan_jax.util.files import hash64

INDEX_FILE = ".palgan-index.npz"


@dataclass(frozen=True, eq=False)
class Listing:
    """Picture files: those under a folder, sorted by name, or those of a list, in its order. Implements `Pictures`.

    Names are relative to the root and have forward slashes on every system, so that order and seeds are the same
    everywhere.
    """

    root: Path
    names: tuple[str, ...]
    file_bytes: np.ndarray  # int64 (N,)
    times: np.ndarray  # int64 (N,), of the last change, ns
    place: str  # full path of the folder or the list
    index_file: Path  # beside the pictures; hidden in a folder, so that no listing has it
    title: str  # short name of the set, for the names of files about it
    other_suffixes: Counter[str] = field(default_factory=Counter)  # number of files that are not pictures, by suffix
    problems: tuple[tuple[str, str], ...] = ()  # (name, reason) of what cannot be reached

    def __len__(self) -> int:
        return len(self.names)

    def picture_name(self, i: int) -> str:
        return self.names[i]

    def label(self, i: int) -> str:
        """Returns the path of picture i, which stands for it in sentences."""
        return os.path.join(self.root, self.names[i])  # noqa: PTH118 - a Path would take as long as reading the file

    def load(self, i: int) -> tuple[str, bytes]:
        """Returns name and encoded bytes of picture i. Raises UserError where they cannot be read."""
        return self.names[i], read_bytes(self.label(i))

    def stamps(self) -> np.ndarray:
        """Returns uint64 (N,), of which each changes with its file's name, size and time of the last change."""
        rows = zip(self.names, self.file_bytes.tolist(), self.times.tolist(), strict=True)
        return np.fromiter((hash64(repr(row)) for row in rows), np.uint64, len(self))

    def digest(self) -> str:
        """Returns a digest of the names and sizes of the files, which copies of the folder share."""
        digest = hashlib.sha256()
        for row in zip(self.names, self.file_bytes.tolist(), strict=True):
            digest.update(repr(row).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def _listing(rows: Iterable[tuple[str, int, int]], **facts: Any) -> Listing:
    """Returns the listing of (name, bytes, time of the last change in ns) of each picture, at least one."""
    names, file_bytes, times = zip(*rows, strict=True)
    return Listing(names=names, file_bytes=np.array(file_bytes, np.int64), times=np.array(times, np.int64), **facts)


# -------------------------------------------------------------------------------------------------------------- folders


def list_pictures(root: str | Path) -> Listing:
    """Lists the files under a folder whose suffix is a picture's; hidden files and folders (leading dot) are skipped.

    Links are followed, but no folder is listed twice. Folders that may not be opened and broken links are kept as
    problems.

    Raises:
      UserError: there is no such folder, it is a file, or it holds no picture (says what it holds).
    """
    root = Path(os.path.expanduser(root))  # noqa: PTH111  # Path.expanduser raises for an unknown user
    if not os.path.exists(root):  # noqa: PTH110  # Path.exists raises for names that are too long
        raise UserError(f"there is no folder {root}: check the path.")
    if not root.is_dir():
        raise UserError(f"{root} is a file where a folder of pictures is expected: name the folder that it is in.")
    rows: list[tuple[str, int, int]] = []
    other_suffixes: Counter[str] = Counter()
    problems: list[tuple[str, str]] = []
    for name, stat in _walk(str(root), "", {_identity(root.stat())}, problems):
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in PICTURE_SUFFIXES:
            rows.append((name, stat.st_size, stat.st_mtime_ns))
        else:
            other_suffixes[suffix] += 1
    if not rows:
        raise UserError(_no_picture(root, other_suffixes, problems))
    return _listing(
        sorted(rows),
        root=root,
        place=str(root.absolute()),
        index_file=root / INDEX_FILE,
        title=root.name or root.resolve().name or "pictures",
        other_suffixes=other_suffixes,
        problems=tuple(sorted(problems)),
    )


def _walk(
    folder: str, prefix: str, visited: set[tuple[int, int]], problems: list[tuple[str, str]]
) -> Iterator[tuple[str, os.stat_result]]:
    """Yields `prefix` + relative name, and status, of all files below a folder that are not hidden.

    visited: identities of the folders that are not to be entered again; grows.
    problems: (name, reason) of what cannot be reached; grows.
    """
    try:
        with os.scandir(folder) as entries:
            # Real folders before links to them, so that a picture that both lead to has its real name.
            ordered = sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError as error:
        if not prefix:
            raise UserError(
                f"the folder {folder} cannot be opened ({error.strerror}): check its permissions."
            ) from None
        problems.append((prefix, f"the folder cannot be opened ({error.strerror})"))
        return
    folders: list[tuple[str, str]] = []
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        name = prefix + entry.name
        try:
            stat = entry.stat()
        except OSError as error:
            problems.append((name, f"a link that leads nowhere ({error.strerror})"))
            continue
        if entry.is_dir():
            identity = _identity(Path(entry.path).stat())
            if identity not in visited:
                visited.add(identity)
                folders.append((entry.path, name + "/"))
        elif entry.is_file():
            yield name, stat
    for path, name in folders:
        yield from _walk(path, name, visited, problems)


def _identity(stat: os.stat_result) -> tuple[int, int]:
    """Returns numbers that no other file or folder has."""
    return stat.st_dev, stat.st_ino


def _no_picture(root: Path, other_suffixes: Counter[str], problems: list[tuple[str, str]]) -> str:
    """Returns the sentence for a folder without pictures."""
    total = sum(other_suffixes.values())
    if problems:
        name, reason = problems[0]
        return f"{root} holds no picture that can be reached ({name}: {reason}): check links and permissions."
    if not total:
        return f"{root} holds no file: put JPEG, PNG or TIFF pictures into it."
    kinds = ", ".join(f"{suffix or 'no suffix'} {count}" for suffix, count in other_suffixes.most_common(8))
    files = "1 file, and it is not a picture" if total == 1 else f"{total} files, none of them a picture"
    return f"{root} holds {files} ({kinds}): put JPEG, PNG or TIFF pictures into it."


# ---------------------------------------------------------------------------------------------------------------- lists


def read_list(path: str | Path) -> Listing:
    """Reads a list of pictures; its order is kept, empty lines and lines that start with # are skipped.

    Raises:
      UserError: no such file, it names nothing, or it names a picture that is missing or was named before (says in
        which line).
    """
    path = Path(os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser raises for an unknown user
    rows: dict[str, tuple[str, int, int]] = {}  # by normal path
    for number, line in enumerate(_lines(path), 1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        place = os.path.normpath(path.parent / name)
        if place in rows:
            raise UserError(f"{path} names {name} a second time in line {number}: name each picture once.")
        try:
            stat = os.stat(place)  # noqa: PTH116  # Path objects would take most of the time of a long list
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"{path} names {name} in line {number}, which is not there ({reason}): "
                "paths count from the folder of the list."
            ) from None
        rows[place] = (name, stat.st_size, stat.st_mtime_ns)
    if not rows:
        raise UserError(f"{path} names no picture: write one path a line.")
    return _listing(
        rows.values(),
        root=path.parent,
        place=str(path.absolute()),
        index_file=path.with_name(path.name + INDEX_FILE),
        title=path.name,
    )


def _lines(path: Path) -> list[str]:
    """Returns the lines of a text file, whose bytes need not be UTF-8. Raises UserError where it cannot be read."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except FileNotFoundError:
        raise UserError(f"there is no list {path}: check the path.") from None
    except OSError as error:
        raise UserError(
            f"the list {path} cannot be read ({error.strerror}): name a text file of picture paths."
        ) from None
    # Not str.splitlines, which also splits at other characters that a name may have.
    return text.replace("\r\n", "\n").split("\n")
