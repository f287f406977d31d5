"""Files in a bucket: gs://bucket/folder.

Other addresses are refused, since checkpoints were tried with Google Cloud Storage alone.
"""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from palgan_jax.errors import UserError, one_line

T = TypeVar("T")


def is_address(text: str) -> bool:
    """Returns True for an address such as gs://bucket/folder. Raises UserError for one of another kind."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    if match and match[1] != "gs":
        raise UserError(
            f"{text} is at no place that can be used: name a folder, mount the storage, or take gs://BUCKET/FOLDER."
        )
    # Orbax would open addresses through TensorFlow where that is installed, which takes seconds and writes lines.
    os.environ.setdefault("EPATH_USE_TF", "false")
    return match is not None


class Bucket:
    """The files below an address. All methods raise UserError where it cannot be reached."""

    def __init__(self, address: str):
        if not re.fullmatch(r"gs://[^/]+/.*[^/]/?", address):
            raise UserError(f"{address} names no folder of a bucket: write gs://BUCKET/FOLDER.")
        self.address = address.rstrip("/")
        self._root = self.address.removeprefix("gs://")
        try:
            import fsspec

            self._files: Any = fsspec.filesystem("gcs", use_listings_cache=False)
        except ImportError as error:
            raise UserError(f"{address} cannot be opened without gcsfs: pip install -e '.[gcs]'.") from error
        except Exception as error:  # whatever is wrong with credentials
            raise self._unreachable(error) from error

    def check(self) -> None:
        """Raises UserError where the bucket cannot be reached; the folder need not exist."""
        with suppress(FileNotFoundError):
            self._ask(lambda: self._files.info(self._root))

    def files(self, *, excluded_folder: str = "") -> list[str]:
        """Returns the names of all files, relative to the address, but those in the subfolder `excluded_folder`."""
        paths = self._ask(lambda: self._files.find(self._root))
        names = (path.removeprefix(self._root + "/") for path in paths)
        return sorted(
            name for name in names if name and not (excluded_folder and name.startswith(excluded_folder + "/"))
        )

    def sizes(self) -> dict[str, int]:
        """Returns the bytes of all files, by their names relative to the address."""
        entries = self._ask(lambda: self._files.find(self._root, detail=True))
        return {path.removeprefix(self._root + "/"): int(entry["size"]) for path, entry in entries.items()}

    def read(self, name: str) -> bytes | None:
        """Returns the content of a file; None where there is none."""
        try:
            return self._ask(lambda: self._files.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, whole or not at all."""
        self._ask(lambda: self._files.pipe_file(self._path(name), content))

    def create(self, name: str, content: bytes) -> None:
        """Writes a file. Raises FileExistsError where there is one, whoever made it and when."""
        self._ask(lambda: self._files.pipe_file(self._path(name), content, mode="create"))

    def remove(self, name: str) -> None:
        """Removes a file if it is there."""
        with suppress(FileNotFoundError):
            self._ask(lambda: self._files.rm_file(self._path(name)))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _ask(self, request: Callable[[], T]) -> T:
        try:
            return request()
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:  # of the network, the credentials or the store, each with types of its own
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> UserError:
        return UserError(
            f"{self.address} cannot be reached ({one_line(error, 160)}): look at the network, the bucket's name and "
            "your credentials (gcloud auth application-default login)."
        )
