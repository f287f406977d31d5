"""Zip archives unpacked where the tfds builder looks for their contents.

By itself tfds would draw a line on the terminal for each file, and queue the files in memory where the disk is slow.
"""

import re
import zipfile
from pathlib import Path

from palgan_jax.prepare.archives import Found
from palgan_jax.util.progress import Progress


def unpack(entry: Found, folder: Path) -> None:
    """Unpacks what the set's builder reads of a zip into a folder in `folder`, whole or not at all.

    Raises what zipfile raises of a damaged archive.
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
