"""Which pictures a text file names: one path a line, relative to the file's folder."""

import os
from pathlib import Path

import numpy as np

from palgan_jax.data.folder import Listing
from palgan_jax.errors import UserError


def read_list(path: str | Path) -> Listing:
    """Reads a list of pictures; its order is kept, empty lines and lines that start with # are skipped.

    Raises:
      UserError: no such file, it names nothing, or a picture that is missing or is there twice (named, with its line).
    """
    path = Path(os.path.expanduser(path))  # noqa: PTH111  # which leaves the ~ of an unknown user as it is
    found: dict[str, tuple[str, int, int]] = {}  # by normal path
    for number, line in enumerate(_lines(path), 1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        place = os.path.normpath(path.parent / name)
        if place in found:
            raise UserError(f"{path} names {name} a second time in line {number}: name each picture once.")
        try:
            stat = os.stat(place)  # noqa: PTH116  # a Path a line would take most of the time of a long list
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"{path} names {name} in line {number}, which is not there ({reason}): "
                "paths count from the folder of the list."
            ) from None
        found[place] = (name, stat.st_size, stat.st_mtime_ns)
    if not found:
        raise UserError(f"{path} names no picture: write one path a line.")
    names, file_bytes, times = zip(*found.values(), strict=True)
    return Listing(
        root=path.parent,
        names=names,
        file_bytes=np.array(file_bytes, np.int64),
        times=np.array(times, np.int64),
        place=str(path.absolute()),
        index_file=path.with_name(f"{path.name}.palgan-index.npz"),
        title=path.name,
    )


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except FileNotFoundError:
        raise UserError(f"there is no list {path}: check the path.") from None
    except OSError as error:
        raise UserError(
            f"the list {path} cannot be read ({error.strerror}): name a text file of picture paths."
        ) from None
    # Only real ends of lines: str.splitlines would split names at stranger characters, too.
    return text.replace("\r\n", "\n").split("\n")
