"""Reads files out of Debian packages (.deb), in memory: nothing of a package is unpacked to disk, installed or run.

A package is an `ar` archive of three members: `debian-binary`, `control.tar.*` and `data.tar.*`, the files (deb(5)).
"""

import io
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"!<arch>\n"
_HEADER = 60  # bytes: name 16, time 12, owner 6, group 6, mode 8, size 10, end 2


class UnreadablePackage(Exception):
    """A file that is no Debian package, is damaged, or lacks what is looked for; the message says which."""


def read_members(path: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Reads some files of a package, in the order in which they lie there, and no further than the last of them.

    Args:
      path: the package.
      names: full names without a slash or `./` at the front, such as `usr/share/pixmaps/faces/cat.jpg`.

    Yields:
      (name, content) of each.

    Raises:
      UnreadablePackage: it is damaged, has not all of them, or one of them is no regular file.
    """
    missing = set(names)
    with path.open("rb") as package:
        _find_data(package)
        try:
            with tarfile.open(fileobj=package, mode="r|*") as tar:
                while missing and (entry := tar.next()) is not None:
                    name = entry.name.removeprefix("./")
                    if name in missing:
                        file = tar.extractfile(entry) if entry.isreg() else None
                        if file is None:
                            raise UnreadablePackage(f"{name} is no regular file")
                        missing.remove(name)
                        yield name, file.read()
        except (tarfile.TarError, EOFError) as error:
            raise UnreadablePackage(f"its data cannot be read ({error})") from error
    if missing:
        raise UnreadablePackage(f"it has no {min(missing)}")


def _find_data(package: BinaryIO) -> None:
    """Moves to the first byte of data.tar.*, which is the last member. Raises UnreadablePackage."""
    if package.read(len(_MAGIC)) != _MAGIC:
        raise UnreadablePackage("it is no Debian package")
    while len(header := package.read(_HEADER)) == _HEADER:
        name, size = header[:16].decode("latin1").strip().removesuffix("/"), header[48:58].strip()
        if not size.isdigit() or header[58:] != b"`\n":
            break
        if name.startswith("data.tar"):
            if name.endswith(".zst"):
                raise UnreadablePackage("its data is compressed by Zstandard, which is not read here")
            return
        package.seek(int(size) + int(size) % 2, io.SEEK_CUR)
    raise UnreadablePackage("it is damaged, or holds no data.tar")
