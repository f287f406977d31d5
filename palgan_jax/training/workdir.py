"""The working directory of a run: a folder, or a place in a bucket (gs://bucket/runs/x).

Orbax writes checkpoints to a bucket itself. All other files are small; a run writes them to a folder of this machine,
and they are copied to the bucket as they change, whole each time, as object stores have it.
"""

import logging
import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from palgan_jax.checkpoint.reading import FOLDER
from palgan_jax.errors import UserError, one_line
from palgan_jax.training.lease_file import FILE as LEASE
from palgan_jax.util.buckets import Bucket, is_address

log = logging.getLogger(__name__)

LOG = "log.txt"
SECONDS_BETWEEN_COPIES = 15.0


@dataclass
class Workdir:
    """Where a run lives.

    Attributes:
      address: what `--workdir` names.
      folder: where all files but checkpoints are written; on this machine.
      bucket: the place in a bucket that they are copied to, if any.
    """

    address: str
    folder: Path
    bucket: Bucket | None = None
    _copied: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _copying: threading.Lock = field(default_factory=threading.Lock)

    @property
    def checkpoints(self) -> str:
        """Returns the folder of checkpoints, or its address."""
        return f"{self.bucket.address}/{FOLDER}" if self.bucket else str(self.folder / FOLDER)

    def __str__(self) -> str:
        return self.address

    def copy(self) -> None:
        """Copies to the bucket what has changed. Raises UserError where it cannot be reached."""
        if self.bucket is None:
            return
        with self._copying:
            for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
                with suppress(FileNotFoundError):  # a file on its way to another name
                    stat = path.stat()
                    state = (stat.st_mtime_ns, stat.st_size)
                    if self._copied.get(path) != state and path.suffix != ".tmp":
                        self.bucket.write(path.relative_to(self.folder).as_posix(), path.read_bytes())
                        self._copied[path] = state

    def fetch(self) -> None:
        """Takes from the bucket what an earlier start of the run has left: all but checkpoints and logs."""
        if self.bucket is not None:
            self._fetch(
                [name for name in self.bucket.files(excluded_folder=FOLDER) if not _is_log(name) and name != LEASE]
            )

    def _fetch(self, names: list[str]) -> None:
        assert self.bucket is not None
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.bucket.read(name) or b"")
            self._copied[path] = (path.stat().st_mtime_ns, path.stat().st_size)

    def _copy_often(self, ended: threading.Event) -> None:
        reachable = True
        while not ended.wait(SECONDS_BETWEEN_COPIES):
            try:
                self.copy()
                reachable = True
            except UserError as error:
                if reachable:
                    log.warning("%s It is tried again.", error)
                reachable = False


@contextmanager
def opened(address: str | Path, *, first: bool = True) -> Iterator[Workdir]:
    """Makes a working directory unless it exists. What is written to that of a bucket is copied there until the end.

    `first`: whether this is the first process of the run; each of the others has a log of its own and little else.

    Raises UserError where it cannot be made, read or written.
    """
    address = str(address)
    if not is_address(address):
        yield Workdir(address, _folder(Path(address)))
        return
    bucket, ended = Bucket(address), threading.Event()
    with tempfile.TemporaryDirectory(prefix="palgan-run-") as folder:
        workdir = Workdir(address, Path(folder), bucket)
        # Messages are added to the log of earlier starts.
        workdir._fetch(
            [name for name in bucket.files(excluded_folder=FOLDER) if _is_log(name) and (name == LOG) == first]
        )
        thread = threading.Thread(target=workdir._copy_often, args=(ended,), name="bucket", daemon=True)
        thread.start()
        try:
            yield workdir
        except BaseException:
            ended.set()
            with suppress(UserError):  # the first error says why the run ends
                workdir.copy()
            raise
        ended.set()
        workdir.copy()


@contextmanager
def local_copies(runs: Sequence[str]) -> Iterator[list[Path]]:
    """Yields the working directories of runs as folders, of those in buckets copies without checkpoints."""
    with ExitStack() as stack:
        folders = []
        for run in runs:
            if is_address(run):
                place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="palgan-run-")))
                bucket = Bucket(run)
                workdir = Workdir(run, place / bucket.address.rpartition("/")[2], bucket)
                workdir.fetch()
                if not workdir.folder.is_dir():
                    raise UserError(f"{run} cannot be shown (nothing is there): name the working directory of a run.")
                folders.append(workdir.folder)
            else:
                folders.append(Path(run))
        yield folders


def _is_log(name: str) -> bool:
    return re.fullmatch(r"log(-\d+)?\.txt", name) is not None


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the working directory {path} cannot be made ({one_line(error)}): choose another.") from error
    return path
