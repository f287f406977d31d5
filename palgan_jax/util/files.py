"""Writes files whole or not at all, makes folders, and computes digests."""

import errno
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from palgan_jax.errors import UserError, one_line
from palgan_jax.util.windows_names import check_path, fault_of


def write_file(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Writes `content` to `path` through a temporary file beside it, so that nobody ever reads half of it.

    What is too large for memory comes in pieces. Raises UserError, and leaves nothing behind, where it cannot be
    written.
    """
    check_path(path)
    temporary = _temporary(path.parent)
    try:
        _fill(temporary, content)
        temporary.replace(path)
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        # Where nothing can be written, nothing can be removed either, and the first error has said so.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_new_file(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Writes `content` to `path`, whole or not at all, and never over a file that exists, whoever made it and when.

    What is too large for memory comes in pieces.

    Raises FileExistsError where there is one, and UserError where it cannot be written.
    """
    check_path(path)
    temporary = _temporary(path.parent)
    try:
        _fill(temporary, content)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):  # a file system without links: the name is taken, and then filled
            path.open("xb").close()
            temporary.replace(path)
    except FileExistsError:
        raise
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _refusal(path: Path, error: OSError) -> UserError:
    fault = fault_of(path.name) if error.errno == errno.EINVAL else None
    if fault:
        return UserError(
            f"{path} cannot be written, since its name {fault}, which the file system there does not take: rename the "
            "picture, or choose another place."
        )
    return UserError(f"{path} cannot be written ({one_line(error)}): choose another place.")


def _fill(path: Path, content: bytes | Iterable[bytes]) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    with path.open("wb") as file:
        file.writelines(content)


def expand_home(text: str) -> str:
    """Returns a path with the home folder in the place of `~`, which shells leave as it is in `--output=~/x`.

    Raises UserError for an empty one, which a variable that is not set leaves: the current folder is called `.`.
    """
    if not text:
        raise UserError("a file or a folder has an empty name: check the variables of the command.")
    return os.path.expanduser(text)  # noqa: PTH111  # Path.expanduser raises for an unknown user


def user_path(text: str) -> Path:
    """Returns the path that a user means on a command line, as `expand_home` does."""
    return Path(expand_home(text))


def make_folder(path: Path) -> None:
    """Makes a folder, with those above it, unless it exists. Raises UserError where it cannot be written to."""
    check_path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = _temporary(path)
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} is no folder that can be written to ({one_line(error)}): name another for the output."
        ) from error


def cache_folder() -> Path:
    """Returns $PALGAN_CACHE, or palgan in $XDG_CACHE_HOME, or ~/.cache/palgan; the folder need not exist.

    Raises UserError where the user has no home folder and neither variable is set.
    """
    try:
        if path := os.environ.get("PALGAN_CACHE"):
            return Path(path).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "palgan"
    except RuntimeError as error:
        raise UserError(f"there is no folder for caches ({error}): set PALGAN_CACHE to one.") from error


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's content, 64 hexadecimal digits. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_digest(path: Path, digest: str) -> bool:
    """Returns whether a file's content has a SHA-256 or a SHA-512, in hexadecimal digits. Raises OSError as above."""
    kind = "sha256" if len(digest) == 64 else "sha512"
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest() == digest


def hash64(text: str) -> int:
    """Returns a hash of a text in 64 bits (BLAKE2b), the same on every machine; it may hold undecodable file names."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _temporary(folder: Path) -> Path:
    """Returns a hidden path that no process on any machine has; short, since the final name may have the most letters
    that the file system allows."""
    return folder / f".{uuid4().hex}.tmp"
