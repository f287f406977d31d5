"""The folder in which a set is made, beside its versions; unfinished work is nowhere else."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palgan_jax.errors import UserError
from palgan_jax.util.files import make_folder

UNFINISHED = "preparing"
"""The name of that folder in the set's; no version has it."""


@contextmanager
def workplace(set_folder: Path) -> Iterator[Path]:
    """Makes SET_FOLDER/preparing and locks it for this process alone, in a `with` body that gets its path.

    At the end it is removed. After an error it stays for the next try, unless it is empty.
    Raises UserError where it cannot be made, or while another process has locked it.
    """
    folder = set_folder / UNFINISHED
    make_folder(folder)
    lock = folder / "lock"
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another palgan prepare is at work in {folder}: wait until it has ended.") from None
        try:
            yield folder
        except BaseException:
            if list(folder.iterdir()) == [lock]:
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)
