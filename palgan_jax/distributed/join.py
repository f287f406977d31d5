"""Joining the other processes of a run, on this machine or others: who they are, and one end for all of them."""

import contextlib
import json
import logging
import math
import os
import re
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from palgan_jax.distributed import watchdog as companion
from palgan_jax.errors import UserError

log = logging.getLogger(__name__)

PATIENCE = 300.0
"""Seconds that all processes have to come in; PALGAN_JOIN_SECONDS changes it."""
SILENCE = 60.0
"""Seconds after which a machine that gives no sign of life is lost. That a process ends is known at once."""

_ADDRESS, _COUNT, _NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


@dataclass(frozen=True)
class Place:
    """One process among those of a run.

    Attributes:
      address: HOST:PORT of process 0.
      number, count: which of how many.
      devices: which of the machine's devices are its own; None for all.
    """

    address: str
    number: int
    count: int
    devices: list[int] | None = None


def find_place(distributed: str) -> Place | None:
    """Where the environment puts this process; None for a process of its own.

    Args:
      distributed: "off"; "on", where JAX has to find the others; or "auto", which joins only what tells of more than
        one process: JAX_COORDINATOR_ADDRESS (HOST:PORT of process 0) with JAX_NUM_PROCESSES and JAX_PROCESS_ID, a step
        of SLURM, Open MPI, and TPU slices of several machines. It asks the network only where a TPU is attached.

    Raises UserError where the others cannot be found.
    """
    if distributed == "off" or (distributed == "auto" and not _tells_of_several()):
        return None
    from jax._src.clusters import ClusterEnv

    environment = os.environ
    try:
        count, number = (int(environment[name]) if name in environment else None for name in (_COUNT, _NUMBER))
        with warnings.catch_warnings(action="ignore"):  # of packages that only other clusters need
            address, count, number, devices = ClusterEnv.auto_detect_unset_distributed_params(
                environment.get(_ADDRESS), count, number, None, None, int(_patience())
            )
    except (ValueError, KeyError, IndexError, RuntimeError, OSError) as error:
        raise _not_found(str(error) or type(error).__name__) from error
    if address is None or count is None or number is None:
        raise _not_found("nothing here tells where they are")
    if not 0 <= number < count or not re.fullmatch(r".+:\d+", address):
        raise _not_found(f"{address} is to be process 0, and this one process {number} of {count}")
    return Place(address, number, count, None if devices is None else list(devices)) if count > 1 else None


def _not_found(why: str) -> UserError:
    return UserError(
        f"the other processes cannot be joined ({why}): set {_ADDRESS} to HOST:PORT of process 0, {_COUNT} and "
        f"{_NUMBER}, or take --distributed=off."
    )


def _tells_of_several() -> bool:
    if _ADDRESS in os.environ:
        return True
    from jax._src import cloud_tpu_init, clusters

    for cluster in (clusters.OmpiCluster, clusters.SlurmCluster):
        if cluster.is_env_present():
            return cluster.get_process_count() > 1
    if not cloud_tpu_init.running_in_cloud_tpu_vm:
        return False
    slices = os.environ.get("MEGASCALE_NUM_SLICES")
    workers = os.environ.get("TPU_PROCESS_ADDRESSES") or os.environ.get("TPU_WORKER_HOSTNAMES")
    if workers is None and "TPU_SKIP_MDS_QUERY" not in os.environ:
        workers = _metadata("worker-network-endpoints")
        found = re.search(r"MEGASCALE_NUM_SLICES: '(\d+)'", _metadata("tpu-env"))
        slices = slices or (found and found.group(1))
    return int(slices or 1) > 1 or "," in (workers or "")


def _metadata(key: str) -> str:
    """What Google's cloud tells a TPU machine about itself; nothing where it is none."""
    import urllib.request  # slow to import, and needed on few machines

    server = os.environ.get("GCE_METADATA_IP", "metadata.google.internal")
    url = f"http://{server}/computeMetadata/v1/instance/attributes/{key}"
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            return answer.read().decode()
    except (OSError, ValueError):
        return ""


def _patience() -> float:
    given = os.environ.get("PALGAN_JOIN_SECONDS", "") or str(PATIENCE)
    with contextlib.suppress(ValueError):
        if 0 < float(given) < math.inf:
            return float(given)
    raise UserError(f"a wait of PALGAN_JOIN_SECONDS={given} says nothing: make it a number of seconds.")


@contextlib.contextmanager
def joined(distributed: str) -> Iterator[None]:
    """While entered, this process is one of those that the environment tells of, if there are any.

    All of them end together: each waits for the others, and where one dies or fails, the others say which, and end with
    exit code 1 (by an abort of JAX, where that is quicker) instead of waiting for it in a collective.

    Args:
      distributed: as for `find_place`.

    Raises UserError where the others cannot be found, or do not come in time, which names them.
    """
    place = find_place(distributed)
    if place is None:
        yield
        return
    import jax

    beside = Companion(place)
    try:
        jax.distributed.initialize(
            place.address, place.count, place.number, place.devices, cluster_detection_method="deactivate"
        )
        local = jax.local_devices()
        log.info("%s: %d %s device(s)", beside.names[place.number], len(local), local[0].device_kind)
        if place.number == 0:
            log.info("%d processes on %d machine(s), %d devices", place.count, beside.hosts, jax.device_count())
        yield
    except BaseException as error:
        beside.fail(error)
    else:
        beside.finish()


class Companion:
    """The process that connects this one with the others of the run. Made once all of them are there."""

    def __init__(self, place: Place):
        host, _, port = place.address.rpartition(":")
        told = {
            "host": "localhost" if place.number == 0 else host.strip("[]"), "port": int(port),
            "number": place.number, "count": place.count, "parent": os.getpid(),
            "patience": _patience(), "silence": SILENCE,
        }  # fmt: skip
        # Isolated: it needs no packages, and this file's folder has modules with names that others have too.
        command = [sys.executable, "-I", "-S", companion.__file__, json.dumps(told)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._number, self._failing = place.number, False
        self._over = threading.Event()
        self._verdict: dict[str, Any] = self._hear()
        if "all" not in self._verdict:
            self._close()
            raise UserError(f"{self._verdict['over']}: see what became of it, and start all of them again.")
        self.names: list[str] = self._verdict["all"]
        self.hosts: int = self._verdict["hosts"]
        threading.Thread(target=self._listen, daemon=True).start()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"over": "the process that connects this one with the others is gone"}

    def _say(self, **words: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(words).encode() + b"\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        self._verdict = self._hear()
        self._over.set()
        if self._verdict["over"] is not None and not self._failing:
            if "number" not in self._verdict:  # there is nobody else to say it
                print(f"palgan: error: {self._verdict['over']}: start all of them again.", file=sys.stderr)
            _exit(1)

    def finish(self) -> None:
        """Returns once all processes are through."""
        self._say(state="done")
        self._over.wait()
        self._close()

    def fail(self, error: BaseException) -> NoReturn:
        """Says what has ended this process, here and to the others, and ends it."""
        self._failing = True
        said, code = str(error).removesuffix("."), 1
        if isinstance(error, UserError):
            print(f"palgan: error: {error}", file=sys.stderr)
            self._say(state="failed", why=said)
            code = 2
        elif isinstance(error, KeyboardInterrupt | SystemExit):
            log.warning("stopping; the others have %g s to end by themselves", SILENCE)
            self._say(state="failed", why=type(error).__name__)
            code = 130
        else:
            self._say(state="crashed", why=f"{type(error).__name__}: {said.partition(chr(10))[0][:200]}")
        self._over.wait(2 * SILENCE)
        # What follows from the death of another would only hide the sentence that names it.
        if code == 1 and self._verdict.get("number", self._number) in (self._number, None):
            traceback.print_exception(error)
        if self._verdict.get("over", "") is not None:
            _exit(code)  # JAX would wait for the others first
        self._close()
        raise SystemExit(code)

    def _close(self) -> None:
        with self._process:  # waits for its end
            pass


def _exit(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
