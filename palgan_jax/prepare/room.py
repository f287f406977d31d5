"""Whether a disk has room for what a command is about to write."""

import shutil
from pathlib import Path

from palgan_jax.errors import UserError
from palgan_jax.util.text import in_words


def need_room(folder: Path, size: int, purpose: str, remedy: str = "make room") -> None:
    """Raises UserError where the disk of a folder has fewer bytes free than needed.

    purpose: what takes how many bytes, in words; remedy: what to do, at the end of the sentence.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(f"{folder} has {in_words(free)} free and {purpose}: {remedy}.")
