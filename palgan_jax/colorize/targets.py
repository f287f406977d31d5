"""Where results go, so that no file of anybody is replaced unasked and nothing is made twice.

As graphical editors and browsers do, and unlike `cp`, a result whose name is taken gets a number: a batch goes on, and
both files are there to be compared. A name that was chosen for one result is refused instead, as ffmpeg and exiftool
do, since another name is not what was asked for.
"""

import os
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

from palgan_jax.colorize.encode import FORMATS, format_of_suffix, result_suffix
from palgan_jax.colorize.inputs import Source
from palgan_jax.colorize.record import Entry, Records
from palgan_jax.data.file_bytes import STDIN
from palgan_jax.data.formats import PICTURE_SUFFIXES
from palgan_jax.errors import UserError
from palgan_jax.util.files import file_sha256
from palgan_jax.util.windows_names import check_path

_WRITTEN = frozenset(suffix for format_ in FORMATS.values() for suffix in format_.suffixes)


@dataclass(frozen=True)
class Version:
    """Which of the pictures that one photograph becomes.

    Attributes:
      sample: 0 for its own palette; from 1 on, the number of one that is drawn around it.
      on_sheet: how many samples a sheet shows beside the first; 0 where it is no sheet.
    """

    sample: int = 0
    on_sheet: int = 0

    @property
    def ending(self) -> str:
        """What follows the photograph's name."""
        return "-samples" if self.on_sheet else f"-sample{self.sample}" if self.sample else ""


def versions(samples: int) -> list[Version]:
    """Returns the versions of each photograph: itself, its samples, and a sheet of all where there are samples."""
    sheet = [Version(on_sheet=samples)] if samples else []
    return [*(Version(i) for i in range(samples + 1)), *sheet]


@dataclass(frozen=True)
class Job:
    """A picture with its result.

    Attributes:
      source: the picture.
      target: the file of the result.
      kind: the format of the result, a key of `encode.FORMATS`.
      settings: the digest of the settings, for the record.
      version: which version of it.
      is_done: True where the result is there, from this picture with these settings.
      occupant: the file of somebody that has the name already which the result should have had; None where none has.
    """

    source: Source
    target: Path
    kind: str
    settings: str
    version: Version = Version()
    is_done: bool = False
    occupant: Path | None = None


class Names:
    """The names of results that are taken: by pictures that were named, by other results and by files that exist.

    Letter case does not tell files apart, since on many machines it does not. Threads may share it.
    """

    def __init__(self, keep: Iterable[Path], replace_existing: bool = False):
        """`keep`: files that are never replaced; `replace_existing`: whether all others may be."""
        self._names_in_use = {_key(path) for path in keep}
        self._first_choices: dict[Path, Path] = {}
        self._replace, self._lock = replace_existing, threading.Lock()

    def take(self, first_choice: Path) -> Path:
        """Returns `first_choice`, or the first of NAME-2, NAME-3, ... that is free, and takes it."""
        with self._lock:
            target, number = first_choice, 1
            while not self._is_free(target):
                number += 1
                target = first_choice.with_name(f"{first_choice.stem}-{number}{first_choice.suffix}")
            self._names_in_use.add(_key(target))
            self._first_choices[target] = first_choice
            return target

    def take_another(self, target: Path) -> Path:
        """Returns the next free name for a result whose name, from `take`, another program has used since."""
        return self.take(self._first_choices.get(target, target))

    def claim(self, target: Path) -> bool:
        """Takes a name whether or not such a file exists; returns False where it is taken by another picture."""
        with self._lock:
            key = _key(target)
            is_free = key not in self._names_in_use
            self._names_in_use.add(key)
            return is_free

    def is_taken(self, path: Path) -> bool:
        """Returns True where a name is that of a picture that was named, or of another result."""
        return _key(path) in self._names_in_use

    def _is_free(self, path: Path) -> bool:
        return _key(path) not in self._names_in_use and (self._replace or not os.path.lexists(path))


def _key(path: Path) -> str:
    return os.path.realpath(path).casefold()


def plan(
    sources: Sequence[Source],
    output: Path,
    kind: str,
    versions: Sequence[Version],
    settings: Callable[[str, Version], str],
    names: Names,
    records: Records,
    overwrite: bool = False,
) -> list[Job]:
    """Returns the jobs of each source, one for each version.

    Args:
      sources: the pictures.
      output: the folder of the results.
      kind: the format of the results, a key of `encode.FORMATS` or SAME.
      versions: the versions of each.
      settings: returns the digest of the settings for a format and a version.
      names: the names that are taken; grows.
      records: what was made before.
      overwrite: make everything anew, and replace what was made of a picture before.
    """

    @cache  # nothing is added to the records here
    def entries_in(folder: Path, ending: str) -> list[Entry]:
        return [entry for entry in records.of(folder).values() if Path(entry.result).suffix.lower() == ending]

    jobs = []
    for source, version in product(sources, versions):
        ending = result_suffix("jpeg" if version.on_sheet else kind, source.place)
        folder = output / source.place.parent
        first_choice = folder / f"{source.place.stem}{version.ending}{ending}"
        own_kind = format_of_suffix(first_choice) or "png"
        job = Job(source, first_choice, own_kind, settings(own_kind, version), version)
        entries = entries_in(folder, ending.lower())
        if overwrite:
            source_entries = [entry for entry in entries if entry.source == source.identity]
            previous_entries = [entry for entry in source_entries if _ending_of(entry, source) == version.ending]
            target = next(
                (folder / e.result for e in reversed(previous_entries) if names.claim(folder / e.result)), None
            )
            jobs.append(replace(job, target=target or names.take(first_choice)))
            continue
        finished_files = (folder / entry.result for entry in _made_from(source, entries, job.settings))
        if target := next((path for path in finished_files if os.path.lexists(path) and names.claim(path)), None):
            jobs.append(replace(job, target=target, is_done=True))
            continue
        is_ours = names.is_taken(first_choice)
        target = names.take(first_choice)
        occupant = first_choice if target != first_choice and not is_ours and os.path.lexists(first_choice) else None
        jobs.append(replace(job, target=target, occupant=occupant))
    return jobs


def _ending_of(entry: Entry, source: Source) -> str:
    """Returns the `Version.ending` in the name of a result, which may have a number behind it."""
    match = re.fullmatch(r"(-sample\d+|-samples)(-\d+)?", Path(entry.result).stem.removeprefix(source.place.stem))
    return match[1] if match else ""


def _made_from(source: Source, entries: Sequence[Entry], settings: str) -> list[Entry]:
    """Returns the entries that were made from a picture of this name and content, with these settings."""
    try:
        facts, name = (settings, source.path.stat().st_size), Path(source.identity).name
        candidates = [e for e in entries if (e.settings, e.source_bytes) == facts and Path(e.source).name == name]
        digest = file_sha256(source.path) if candidates else ""
    except OSError:
        return []
    return [entry for entry in candidates if entry.source_sha256 == digest]


def named_file(output: Path, sources: Sequence[Source], count: int) -> bool:
    """Returns True where an output names the file of one result, and not a folder.

    Args:
      output: what was named; a folder that exists is one, whatever it is called.
      sources: the pictures.
      count: how many pictures were named, unreadable ones included.

    Raises UserError where the name of a file stands for many pictures, for a format that is not written, for a pipe,
    and for a name that Windows takes for something else, there.
    """
    if str(output) == STDIN:
        raise UserError("results are not written to a pipe: name a file for the output, such as boat.png, or a folder.")
    check_path(output)
    if output.is_dir() or output.suffix.lower() not in PICTURE_SUFFIXES | _WRITTEN:
        return False
    if output.suffix.lower() not in _WRITTEN:
        raise UserError(f"{output} names a format that is not written: choose {', '.join(sorted(_WRITTEN))}.")
    from_folder = any(source.from_folder for source in sources)
    if count != 1 or from_folder:
        others = "those of a folder are to be colorized" if from_folder else f"there are {count}"
        raise UserError(f"{output} is the name of one picture, and {others}: name a folder for the output.")
    return True


def plan_one(
    source: Source,
    output: Path,
    kind: str,
    versions: Sequence[Version],
    settings: Callable[[str, Version], str],
    names: Names,
    records: Records,
    overwrite: bool = False,
) -> list[Job]:
    """Returns the jobs of one picture whose result has a name of its own, which the first version gets.

    Raises UserError where a file exists, unless it is the result of this picture with these settings already, or may
    be replaced; and where it is a picture that was named.
    """
    jobs = []
    for version in versions:
        own_kind = "jpeg" if version.on_sheet else kind
        suffix = FORMATS[own_kind].suffixes[0] if version.on_sheet else output.suffix
        target = output.with_name(f"{output.stem}{version.ending}{suffix}")
        job = Job(source, target, own_kind, settings(own_kind, version), version)
        if not names.claim(target):
            raise UserError(f"{target} is a picture that was named itself: choose another name for the result.")
        entry = records.of(target.parent).get(target.name)
        if os.path.lexists(target) and not overwrite:
            if entry is None or not _made_from(source, [entry], job.settings):
                raise UserError(f"{target} exists already: choose another name, or replace it with --overwrite.")
            job = replace(job, is_done=True)
        jobs.append(job)
    return jobs
