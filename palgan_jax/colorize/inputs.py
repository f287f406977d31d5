"""The pictures that a command names: files, folders, patterns in quotes, and lists of any of these."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath

from palgan_jax.data.file_bytes import STDIN
from palgan_jax.data.folder import list_pictures
from palgan_jax.data.formats import PICTURE_SUFFIXES
from palgan_jax.errors import UserError, one_line
from palgan_jax.util.files import user_path


@dataclass(frozen=True)
class Source:
    """A picture to colorize.

    Attributes:
      path: the file, as it was named.
      place: where its result belongs below the output folder, under the picture's own name: the path from the folder
        that was named, or the name alone.
      from_folder: True where a folder was named, and not the picture.
      page: which page or frame of the file, from 0 on; None for the first or only one.
    """

    path: Path
    place: PurePath
    from_folder: bool = False
    page: int | None = None

    def __str__(self) -> str:
        """Returns the name of the picture for people."""
        return str(self.path) if self.page is None else f"{self.path} (page {self.page + 1})"

    @property
    def identity(self) -> str:
        """What tells the picture from all others: the full path, with the page."""
        path = os.path.abspath(self.path)  # noqa: PTH100 - no links followed
        return path if self.page is None else f"{path}#{self.page + 1}"

    def pages(self, count: int) -> "list[Source]":
        """Returns each of so many pages as a picture of its own, whose place ends in its number; one page as it is."""
        if count == 1:
            return [self]
        digits = len(str(count))
        return [
            replace(self, page=page, place=self.place.with_stem(f"{self.place.stem}-page{page + 1:0{digits}}"))
            for page in range(count)
        ]


def find_sources(words: Sequence[str]) -> tuple[list[Source], list[UserError]]:
    """Finds the pictures that the words of a command mean, each once, in their order; folders with their subfolders.

    A word is a file, a folder, a pattern such as `old/*.jpg` that the shell has left alone, or `@list.txt`, a text
    file of such words, one a line. A file that is called like that is meant before any of this. With several folders,
    each keeps its own name below the output.

    Returns the pictures, and an error for each word that means none. Files need not be pictures, nor exist.
    """
    sources: dict[str, Source] = {}
    errors: list[UserError] = []
    paths: list[Path] = []
    for word in words:
        try:
            paths += _paths(word, errors)
        except UserError as error:
            errors.append(error)
    several = len({os.path.abspath(path) for path in paths if _is_folder(path)}) > 1  # noqa: PTH100 - no links followed
    for path in paths:
        try:
            pictures = list(_in_folder(path, errors, keep_name=several)) if _is_folder(path) else [_file(path)]
        except UserError as error:
            errors.append(error)
            continue
        for source in pictures:
            sources.setdefault(os.path.abspath(source.path), source)  # noqa: PTH100
    return list(sources.values()), errors


def _paths(word: str, errors: list[UserError], list_folder: Path | None = None) -> list[Path]:
    """Returns the files and folders that a word means, where a list has it: from the current folder, else from its own.

    `errors` takes what is wrong with lines of a list. Raises UserError where a list or a pattern means nothing.
    """
    literal, path = Path(word), user_path(word)
    if _exists(literal):
        return [literal]
    if _exists(path):
        return [path]
    if list_folder is None and word.startswith("@"):
        return _paths_of_list(user_path(word[1:]), errors)
    beside_list = None if list_folder is None else list_folder / word
    if beside_list is not None and _exists(beside_list):
        return [beside_list]
    if glob.has_magic(word):
        matches = _matches(str(path))
        if not matches and list_folder is not None:
            matches = _matches(os.path.join(glob.escape(str(list_folder)), word))  # noqa: PTH118 - a pattern is no path
        if not matches:
            raise UserError(f"nothing matches {path}: check the pattern.")
        return matches
    return [path]


def _matches(pattern: str) -> list[Path]:
    """Returns what a pattern matches, sorted: pictures and folders, or with `**` pictures alone."""
    deep = "**" in pattern
    any_suffix = glob.has_magic(PurePath(pattern).suffix) or not PurePath(pattern).suffix
    matches = [Path(name) for name in sorted(glob.glob(pattern, recursive=deep))]  # noqa: PTH207 - a whole path, as named
    return [
        path
        for path in matches
        if (not deep if path.is_dir() else not any_suffix or path.suffix.lower() in PICTURE_SUFFIXES)
    ]


def _paths_of_list(path: Path, errors: list[UserError]) -> list[Path]:
    """Returns what the lines of a text file mean; `errors` takes what is wrong with single ones.

    Raises UserError where the file cannot be read, and where no line names anything.
    """
    try:
        data = path.read_bytes()
        if b"\0" in data:
            raise OSError("it is no text")
    except (OSError, ValueError) as error:
        raise UserError(
            f"the list {path} cannot be read ({one_line(error)}): name a text file of picture paths."
        ) from None
    text = data.decode("utf-8-sig", "surrogateescape")
    lines = [line.strip() for line in text.replace("\r\n", "\n").split("\n")]
    words = [line for line in lines if line and not line.startswith("#")]
    if not words:
        raise UserError(f"{path} names no picture: write one path a line.")
    paths: list[Path] = []
    for word in words:
        try:
            paths += _paths(word, errors, path.parent)
        except UserError as error:
            errors.append(error)
    return paths


def _file(path: Path) -> Source:
    return Source(path, PurePath("stdin" if str(path) == STDIN else path.name))


def _in_folder(folder: Path, errors: list[UserError], keep_name: bool) -> Iterator[Source]:
    """Yields the pictures below a folder, hidden ones left out; `errors` takes what cannot be reached."""
    listing = list_pictures(folder)
    prefix = PurePosixPath(folder.absolute().name if keep_name else "")
    for name, reason in listing.problems:
        errors.append(UserError(f"{folder / name} cannot be read ({reason}): check links and permissions."))
    for name in listing.names:
        yield Source(listing.root / name, PurePath(prefix / name), from_folder=True)


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a name that the system does not take
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
