"""Reads the bytes of picture files, and of pipes that were named on purpose."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from palgan_jax.errors import UserError, one_line

STDIN = "-"
"""Stands for standard input."""
LARGEST_PIPE = 4_000_000_000
"""Bytes that are read from a pipe, which may never end."""

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_pipes: dict[tuple[int, int], bytes] = {}
# What a shell hands over: <(program), /dev/stdin, and what these are links to.
_HANDED_OVER = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")


def read_bytes(path: str | Path) -> bytes:
    """Reads the bytes of a file, or of a pipe: "-" and /dev/stdin for standard input, /dev/fd/N as shells name them.

    A pipe gives its bytes only once. They are kept, so that a later call with the same pipe returns them again.

    Raises:
      UserError: the file is missing, empty, a folder, a device or a socket, or it cannot be read. Nothing that might
        never answer is opened.
    """
    with system_errors_explained(path):
        if str(path) == STDIN:
            data = _read_descriptor(0, path)
        else:
            status = os.stat(path)  # noqa: PTH116 - a Path takes as long to make as the file to read
            if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                    data = file.readall()
            elif str(path).startswith(_HANDED_OVER):
                with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                    data = _read_descriptor(file.fileno(), path)
            else:
                raise UserError(_no_file(status.st_mode, path))
    if not data:
        raise UserError(f"{path} is empty (0 bytes): get the file again.")
    return data


@contextmanager
def open_regular(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a file that holds something, in a `with` statement. Raises UserError as `read_bytes` does."""
    with system_errors_explained(path):
        status = Path(path).stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise UserError(_no_file(status.st_mode, path))
        file = Path(path).open("rb")  # noqa: SIM115 - errors of its reader are no errors of the system
    with file:
        if not file.peek(1):
            raise UserError(f"{path} is empty (0 bytes): get the file again.")
        yield file


def is_pipe(path: str | Path) -> bool:
    """Returns True for standard input and for what shells name /dev/fd/N, which `read_bytes` can read only once."""
    return str(path) == STDIN or str(path).startswith(_HANDED_OVER)


def _no_file(mode: int, path: str | Path) -> str:
    kind = next((label for test, label in _KINDS if test(mode)), "no file")
    return f"{path} is {kind}, not a picture file: pipe the picture itself, and name it -."


def _read_descriptor(descriptor: int, path: str | Path) -> bytes:
    status = os.fstat(descriptor)
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        raise UserError(_no_file(status.st_mode, path))
    key = (status.st_dev, status.st_ino)
    if key not in _pipes:
        _pipes[key] = _read_to_end(descriptor, path)
    return _pipes[key]


def _read_to_end(descriptor: int, path: str | Path) -> bytes:
    pieces, size = [], 0
    while piece := os.read(descriptor, 1 << 20):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST_PIPE:
            raise UserError(f"{path} gives more than {LARGEST_PIPE // 10**9} GB: save the picture to a file.")
    return b"".join(pieces)


@contextmanager
def system_errors_explained(path: str | Path) -> Iterator[None]:
    """Turns errors of the system, in a `with` body, into a UserError about the file."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"there is no file {path}: check the path.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a directory, not a picture file: name a file in it.") from None
    except PermissionError:
        # On Windows directories give this error, too.
        problem = (
            "is a directory, not a picture file: name a file in it"
            if Path(path).is_dir()
            else "may not be read: check its permissions"
        )
        raise UserError(f"{path} {problem}.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}): check the path.") from None
