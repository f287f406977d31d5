"""One run, one working directory: a lease that a living run renews; another takes it over where its owner is gone.

Neither a lock of the operating system nor a clock is trusted: locks do not reach over every network file system, and
clocks differ between machines and jump. A run that finds a lease watches whether it is renewed.
"""

import json
import logging
import os
import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from palgan_jax.errors import UserError
from palgan_jax.training.lease_file import LeaseFile, LeaseInBucket, LeaseInFolder
from palgan_jax.util.buckets import Bucket

log = logging.getLogger(__name__)

BEAT = 10.0
"""Seconds between two renewals."""
PATIENCE = 45.0
"""Seconds without a renewal after which the owner counts as gone."""
SETTLING = 0.5
"""Seconds after which a run that took over a lease looks whether another did so at the same time."""


class Lease:
    """Holds lease.json of a working directory in a `with` body.

    Entering raises UserError, which names the owner, while another run holds it. The lease of a process that is gone
    is taken over: at once if it ran on this machine, else when it was not renewed for PATIENCE seconds.
    """

    def __init__(self, place: Path | Bucket, *, beat: float = BEAT, patience: float = PATIENCE) -> None:
        self._file: LeaseFile = LeaseInBucket(place) if isinstance(place, Bucket) else LeaseInFolder(place)
        self._beat, self._patience = beat, patience
        owner = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": _machine(),
            "lease": uuid4().hex,
        }
        self._content = json.dumps(owner).encode()
        self._taken_by: bytes | None = None
        self._ended = threading.Event()
        self._renewal = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        try:
            self._file.create(self._content)
        except FileExistsError:
            self._wait_until_gone()
            self._file.replace(self._content)
            self._ended.wait(SETTLING)
            self._look()
            self.check()
        self._renewal.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._renewal.join()
        with suppress(OSError, UserError):
            if self._file.read() == self._content:
                self._file.remove()

    def check(self) -> None:
        """Raises UserError where the working directory is gone, or another run has taken it after this one stood still.

        What is written after that would make it anew, beside the one that comes back.
        """
        if not self._file.exists():
            raise UserError(
                f"{self._file.place} is gone: bring the working directory back (is a disk or a network drive "
                "unmounted?) and start the same command again."
            )
        if self._taken_by is not None:
            raise UserError(
                f"{self._file.place} was taken over by {_in_words(self._taken_by)}, since this run did not renew "
                "its lease: this run writes nothing more."
            )

    def _wait_until_gone(self) -> None:
        """Waits until the present owner counts as gone. Raises UserError where it does not."""
        first = self._file.signature()
        if first is None or _is_gone(first[0]):
            return
        owner = _in_words(first[0])
        log.info("%s is held by %s: waiting %g s for a sign of life", self._file.place, owner, self._patience)
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            time.sleep(min(1.0, self._beat / 2))
            if (signature := self._file.signature()) is None:
                return
            if signature != first:
                raise UserError(
                    f"{self._file.place} is in use by {_in_words(signature[0])}: stop that run, or name another "
                    "--workdir."
                )
        log.info("%s did not renew its lease, and counts as gone", owner)

    def _renew(self) -> None:
        while not self._ended.wait(self._beat):
            with suppress(OSError, UserError):  # a storage that is away for a while; what the run writes there says so
                self._look()
                if not self._ended.is_set():
                    self._file.renew(self._content)

    def _look(self) -> None:
        content = self._file.read()
        if content is not None and content != self._content:
            self._taken_by = content
            self._ended.set()


def _machine() -> str:
    """Returns what processes share whose numbers are of one kind: a boot of a machine, a name space of processes."""
    parts = []
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join([socket.gethostname(), *parts])


def _owner(content: bytes) -> dict:
    try:
        owner = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_gone(content: bytes) -> bool:
    """Returns True where the owner's process was one of this machine and has ended."""
    owner = _owner(content)
    process = owner.get("process")
    if owner.get("machine") != _machine() or not isinstance(process, int) or process <= 0:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _in_words(content: bytes) -> str:
    owner = _owner(content)
    if {"process", "host", "since"} <= owner.keys():
        return f"process {owner['process']} on {owner['host']} (since {owner['since']})"
    return "another run"
