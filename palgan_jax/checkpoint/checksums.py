"""Checksums of a checkpoint's files, so that silent damage is noticed before it is trained on.

The array store notices a missing or truncated file, but not a flipped bit in the middle of a tensor.
"""

import json
import zlib
from collections.abc import Iterator

from etils import epath

from palgan_jax.checkpoint.soundness import Damaged
from palgan_jax.errors import one_line, printable

FILE = "checksums.json"
_CHUNK = 1 << 22  # bytes read at a time


def _files(folder: epath.Path, prefix: str) -> Iterator[tuple[str, epath.Path]]:
    """Yields (`prefix` + path in the folder, file) for all files below a folder, by name."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry


def _sum(file: epath.Path) -> list[int]:
    """Returns [length in bytes, CRC-32]."""
    length = crc = 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            length += len(chunk)
            crc = zlib.crc32(chunk, crc)
    return [length, crc]


def write(folder: epath.Path) -> None:
    """Writes the checksums of all files in the subfolders of `folder` into it."""
    parts = [entry for entry in folder.iterdir() if entry.is_dir()]
    sums = {name: _sum(file) for part in parts for name, file in _files(part, f"{part.name}/")}
    (folder / FILE).write_text(json.dumps(sums))


def verify(folder: epath.Path, part: str = "") -> int:
    """Compares the files of one subfolder of `folder`, or of all, with their checksums.

    Returns how many bytes they are. Raises Damaged for a file that is missing or differs, or where the checksums
    themselves cannot be read.
    """
    try:
        sums = json.loads((folder / FILE).read_text())
        names = [name for name in sums if name.startswith(part and part + "/")]
        if not names:
            raise Damaged(f"{FILE} names none of its files")
        # Names that lead out of the folder are none of those in it.
        present = dict(_files(folder / part, part + "/") if part else _files(folder, ""))
        total = 0
        for name in names:
            if name not in present:
                raise Damaged(f"{printable(name)} is missing")
            length, crc = _sum(present[name])
            if [length, crc] != sums[name]:
                raise Damaged(f"{name} has changed since it was written")
            total += length
        return total
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"its files cannot be compared with {FILE} ({one_line(error)})") from error
