"""The archives of a set: checked before the long work starts, and unpacked.

The check is whether each archive is present, whole and of the right kind, and whether there is room for the records. It
reads only the lists of contents, which takes seconds even for 148 GB.
"""

import logging
import re
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from palgan_jax.errors import UserError, one_line
from palgan_jax.prepare.room import need_room
from palgan_jax.prepare.sets import Archive, PictureSet, Split
from palgan_jax.util.progress import Progress
from palgan_jax.util.text import in_words

log = logging.getLogger(__name__)

RECORDS = 1.02
"""Bytes of the records for each byte of the archives; 1.00 was measured, and the shuffling needs a little."""

_TAR_BLOCK = 512


@dataclass(frozen=True)
class UsableArchive:
    """An archive that can be used: it is in the user's folder, or is to be downloaded."""

    archive: Archive
    path: Path | None  # None: it is to be downloaded
    size: int  # bytes
    members: int  # number of those that the set's builder will read; 0 where the archive is to be downloaded


def find_archives(picture_set: PictureSet, splits: Sequence[Split], folder: Path) -> dict[str, UsableArchive]:
    """Checks the archives of some splits.

    Args:
      picture_set: the set of the splits.
      splits: the splits that are to be made.
      folder: the user's folder of archives.

    Returns:
      The archives by file name. One that is missing and has a public address is to be downloaded.

    Raises:
      UserError: names every archive that is missing, cut short, or not what its name says, with sizes.
    """
    usable, problems = {}, []
    for archive in dict.fromkeys(archive for split in splits for archive in split.archives):
        path = folder / archive.file
        if not path.exists() and archive.url:
            usable[archive.file] = UsableArchive(archive, None, archive.size or 0, 0)
            continue
        try:
            usable[archive.file] = _check(archive, path)
        except _NotUsable as problem:
            problems.append(f"{archive.file} {problem}")
    if problems:
        raise UserError(
            f"{picture_set.title} cannot be prepared from {folder}: {', '.join(problems)}: {picture_set.where}."
        )
    return usable


def splits_to_make(picture_set: PictureSet, folder: Path) -> list[Split]:
    """Returns the splits that are needed, and those others whose archives are all in the folder."""
    return [
        split
        for split in picture_set.splits
        if split.needed or all((folder / archive.file).exists() for archive in split.archives)
    ]


def log_archives(usable: dict[str, UsableArchive]) -> None:
    """Logs a line for each archive: its size, a warning if that is not the published one, or its address."""
    for file, entry in usable.items():
        if entry.path is None:
            log.info("%s is not there and will be downloaded: %s, %s", file, entry.archive.url, in_words(entry.size))
        elif entry.archive.size not in (None, entry.size):
            log.warning("%s has %s bytes, not %s: it is taken as it is", file, f"{entry.size:,}", _size(entry.archive))
        else:
            log.info("%s: %s", file, in_words(entry.size))


def check_addresses(usable: dict[str, UsableArchive], folder: Path) -> None:
    """Asks the servers for each archive that is to be downloaded. Raises UserError where one does not answer.

    The builder itself would try for minutes first.
    """
    for file, entry in usable.items():
        if entry.path is None:
            try:
                request = urllib.request.Request(entry.archive.url, method="HEAD")
                urllib.request.urlopen(request, timeout=30).close()
            except OSError as error:
                reason = getattr(error, "reason", error)
                raise UserError(
                    f"{entry.archive.url} cannot be downloaded ({reason}): put {file} into {folder} by other means."
                ) from error


def check_room(picture_set: PictureSet, splits: Sequence[Split], usable: dict[str, UsableArchive], folder: Path) -> int:
    """Computes how many bytes the work needs at most in `folder`, which exists. Raises UserError where it has fewer."""
    sizes = [sum(usable[archive.file].size for archive in split.archives) for split in splits]
    size = round(sum(sizes) * RECORDS) + (max(sizes, default=0) if picture_set.unpacked else 0)
    size += sum(entry.size for entry in usable.values() if entry.path is None)
    purpose = f"preparing {picture_set.title} takes up to {in_words(size)}"
    need_room(folder, size, purpose, "make room, or name another place with --data-dir")
    return size


class _NotUsable(Exception):
    """Says what is wrong with an archive; continues a sentence that begins with its name."""


def _check(archive: Archive, path: Path) -> UsableArchive:
    """Returns an archive of the user's folder. Raises _NotUsable where it is missing or not what it should be."""
    if not path.exists():
        raise _NotUsable(f"is missing ({_beginning(archive, path)})")
    if not path.is_file():
        raise _NotUsable("is not a file")
    size = path.stat().st_size
    listing = _tar_members if path.suffix == ".tar" else _zip_members
    with _readable(archive, size):
        names = list(listing(path))
    members = sum(bool(re.fullmatch(archive.members, name)) for name in names)
    if not members:
        example = f"the first thing in it is {names[0]}" if names else "it is empty"
        raise _NotUsable(f"does not hold what it should ({example})")
    return UsableArchive(archive, path, size, members)


def _beginning(archive: Archive, path: Path) -> str:
    """Describes an unfinished download of a missing archive, whose name is a longer one; else returns its size."""
    for part in sorted(path.parent.glob(f"{path.name}.*")):
        return f"{part.name} is there, with {part.stat().st_size:,} of {_size(archive)} bytes"
    return in_words(archive.size or 0)


@contextmanager
def _readable(archive: Archive, size: int) -> Iterator[None]:
    """Turns errors of reading an archive, in a `with` body, into _NotUsable."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise _NotUsable(f"is no whole archive ({error}, {size:,} of {_size(archive)} bytes)") from error
    except OSError as error:
        raise _NotUsable(f"cannot be read ({one_line(error)})") from error


def _size(archive: Archive) -> str:
    return f"{archive.size:,}" if archive.size else "?"


def _tar_members(path: Path) -> Iterator[str]:
    """Yields the names of the files. Raises ReadError where the archive is cut short, which tarfile does not notice."""
    end = 0
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            end = member.offset_data + -(-member.size // _TAR_BLOCK) * _TAR_BLOCK
            if member.isfile():
                yield member.name
    if path.stat().st_size < end + _TAR_BLOCK:
        raise tarfile.ReadError("no end of the archive")


def _zip_members(path: Path) -> Iterator[str]:
    """Yields the names of the files, from the list at the very end, which an archive that is cut short lacks."""
    with zipfile.ZipFile(path) as archive:
        yield from (member.filename for member in archive.infolist() if not member.is_dir())


def unpack(entry: UsableArchive, folder: Path) -> None:
    """Unpacks a zip into the folder in `folder` where the tfds builder looks for it, whole or not at all.

    By itself tfds would draw a line on the terminal for each file, and queue the files in memory where the disk is
    slow. Raises what zipfile raises of a damaged archive.
    """
    assert entry.path is not None
    target = folder / f"ZIP.{entry.path.name}"
    if target.exists():
        return
    unfinished = folder / f"{target.name}.unfinished"
    with (
        Progress(f"unpacking {entry.path.name}", entry.members, unit="file") as progress,
        zipfile.ZipFile(entry.path) as archive,
    ):
        for member in archive.infolist():
            if re.fullmatch(entry.archive.members, member.filename):
                archive.extract(member, unfinished)
                progress.advance()
    unfinished.rename(target)
