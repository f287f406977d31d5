"""The file of a lease, in a folder or in a bucket."""

import os
from pathlib import Path
from typing import Protocol

from palgan_jax.util.buckets import Bucket
from palgan_jax.util.files import write_file, write_new_file

FILE = "lease.json"  # within a working directory


class LeaseFile(Protocol):
    """A small file that one process at a time makes, and renews.

    Methods raise UserError or OSError where the storage is away.
    """

    place: str
    """The working directory, as people name it."""

    def exists(self) -> bool:
        """Returns False where the file is known to be gone."""
        ...

    def create(self, content: bytes) -> None:
        """Writes the file. Raises FileExistsError where there is one."""
        ...

    def replace(self, content: bytes) -> None:
        """Writes the file, whatever was there."""
        ...

    def renew(self, content: bytes) -> None:
        """Changes the signature of the file, which has this content."""
        ...

    def signature(self) -> tuple[bytes, object] | None:
        """Returns the content and what a renewal changes; None where there is no file."""
        ...

    def read(self) -> bytes | None:
        """Returns the content; None where there is no file."""
        ...

    def remove(self) -> None:
        """Removes the file."""
        ...


class LeaseInFolder:
    """A lease in a folder, renewed by the file's time, which can be set on a full disk, too."""

    def __init__(self, folder: Path):
        self.place, self._path = str(folder), folder / FILE

    def exists(self) -> bool:
        try:
            return self._path.exists()
        except OSError:  # a storage that is away for a moment
            return True

    def create(self, content: bytes) -> None:
        write_new_file(self._path, content)

    def replace(self, content: bytes) -> None:
        write_file(self._path, content)

    def renew(self, content: bytes) -> None:
        os.utime(self._path)

    def signature(self) -> tuple[bytes, object] | None:
        try:
            # Network file systems look up a file's times anew when it is opened.
            with self._path.open("rb") as file:
                return file.read(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return None

    def read(self) -> bytes | None:
        signature = self.signature()
        return None if signature is None else signature[0]

    def remove(self) -> None:
        self._path.unlink()


class LeaseInBucket:
    """A lease in a bucket, renewed by a number behind its content: objects have no times that can be set."""

    def __init__(self, bucket: Bucket):
        self.place, self._bucket, self._beats = bucket.address, bucket, 0

    def exists(self) -> bool:
        return True  # a bucket does not vanish as a drive does, and asking takes long

    def create(self, content: bytes) -> None:
        self._bucket.create(FILE, self._beat(content))

    def replace(self, content: bytes) -> None:
        self._bucket.write(FILE, self._beat(content))

    def renew(self, content: bytes) -> None:
        self._bucket.write(FILE, self._beat(content))

    def _beat(self, content: bytes) -> bytes:
        self._beats += 1
        return content + f"\n{self._beats}\n".encode()

    def signature(self) -> tuple[bytes, object] | None:
        content = self._bucket.read(FILE)
        if content is None:
            return None
        owner, _, beat = content.partition(b"\n")
        return owner, beat

    def read(self) -> bytes | None:
        signature = self.signature()
        return None if signature is None else signature[0]

    def remove(self) -> None:
        self._bucket.remove(FILE)
