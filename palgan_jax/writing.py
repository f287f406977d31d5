"""Writing a file whole or not at all."""

import os
from pathlib import Path

from palgan_jax.errors import UserError


def write_file(path: Path, content: bytes) -> None:
    """Writes `content` to `path` through a temporary file beside it, so that nobody ever reads half of it.

    Raises UserError, and leaves nothing behind, where it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}): choose another place.") from error
    finally:
        # Where the folder itself is not one, the removal fails as the writing did.
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Makes a folder, with those above it, unless it is there. Raises UserError where it cannot be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".palgan.{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"{path} is no folder that can be written to ({error.strerror or error}): name another for the output."
        ) from error
