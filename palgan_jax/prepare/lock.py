"""The folder in which a set is made, beside its versions: what is unfinished lies there and nowhere else."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palgan_jax.errors import UserError
from palgan_jax.util.files import make_folder

UNFINISHED = "preparing"
"""Its name in the set's folder; no version is called that."""


@contextmanager
def workplace(set_folder: Path) -> Iterator[Path]:
    """SET_FOLDER/preparing, held by this process alone.

    It goes away when the work is done; what is in it when the work ends otherwise is there for the next try.
    Raises UserError where it cannot be made, or while another process holds it.
    """
    folder = set_folder / UNFINISHED
    make_folder(folder)
    lock = folder / "lock"
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another palgan prepare is at work in {folder}: wait until it has ended.") from None
        try:
            yield folder
        except BaseException:
            if list(folder.iterdir()) == [lock]:
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)
