"""Joining the other processes of a run, on this machine or others, through JAX's coordination service."""

import contextlib
import importlib.util
import logging
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator

from palgan_jax.distributed.partner_death import ABOUT, told_in_a_sentence
from palgan_jax.errors import ExitCode, ProcessesMissing, UserError, report
from palgan_jax.util.platforms import has_tpu_devices
from palgan_jax.util.signals import end_process

log = logging.getLogger(__name__)

JOIN_SECONDS = 300.0
"""Limit on the wait for all processes to come; PALGAN_JOIN_SECONDS changes it."""
HEARTBEAT_SECONDS = 30
"""A process that has sent no heartbeat for so long is dead, and ends all others. Compiling and collectives do not
keep a process from sending them."""

FAREWELL_SECONDS = 10
"""A process that ends with bad input waits so long for the others to end as well."""

_COLLECTIVE = r"\bGloo [\w-]+ failed|coordination service"
_ADDRESS, _COUNT, _NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


@contextlib.contextmanager
def joined(distributed: str) -> Iterator[int]:
    """Joins the processes that the environment names, if there are any, for the body of a `with` statement.

    Yields the number of this process.

    All of them end together: each waits for the others, and where one dies or fails, the others end with a non-zero
    exit code within a minute (by an abort of JAX, or by an error of the collective that they wait in).

    Args:
      distributed: "off"; "on", where JAX has to find the others; or "auto", which joins only where the environment
        names more than one process: JAX_COORDINATOR_ADDRESS (HOST:PORT of process 0) with JAX_NUM_PROCESSES and
        JAX_PROCESS_ID, a step of SLURM, Open MPI, or TPU slices of several machines. The network is asked only where a
        TPU is attached.

    Raises UserError where the environment makes no sense. Where the others do not come in time, the process says so in
    one sentence and ends with 1.
    """
    if distributed == "off" or (distributed == "auto" and not _names_several_processes()):
        yield 0
        return
    with told_in_a_sentence():
        yield from _joined()


def _joined() -> Iterator[int]:
    import jax

    _initialize()
    try:
        count, number = jax.process_count(), jax.process_index()  # the processes tell each other of their devices
    except Exception as error:
        end_process(report(ProcessesMissing(ABOUT) if _is_partner_death(error) else error))
    log.info("process %d of %d: %d device(s) of %d", number, count, jax.local_device_count(), jax.device_count())
    try:
        yield number
    except BaseException as error:
        is_death = _is_partner_death(error)
        code = report(ProcessesMissing(ABOUT) if is_death else error)
        print(f"palgan: process {number} of {count} ends, and with it all others", file=sys.stderr)
        if isinstance(error, UserError) and not is_death:
            # The others may be at their end too, and are not to take this process for dead; or they are in a
            # collective, where they would wait for it in vain.
            _end_after(FAREWELL_SECONDS, lambda: code)
            jax.distributed.shutdown()
        end_process(code)
    jax.distributed.shutdown()


def _is_partner_death(error: BaseException) -> bool:
    """Returns True for an error of a collective that another process has left; JAX gives it several types.

    A sentence of ours may be about it, too: where that which failed is a save, for example.
    """
    if not isinstance(error, UserError):
        return isinstance(error, Exception) and re.search(rf"{_COLLECTIVE}|\bUNAVAILABLE\b", str(error)) is not None
    cause = error.__cause__
    while cause is not None:
        if re.search(_COLLECTIVE, str(cause)):  # buckets may be unavailable, too
            return True
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return False


def _initialize() -> None:
    """Calls `jax.distributed.initialize` with what the environment names; JAX finds the rest."""
    import jax

    seconds = _join_seconds()
    address, count, number = os.environ.get(_ADDRESS), _whole_number(_COUNT), _whole_number(_NUMBER)
    if address is not None and not re.fullmatch(r".+:\d+", address):
        raise _not_joined(f"{_ADDRESS}={address} is not HOST:PORT")
    if count is not None and number is not None and not 0 <= number < count:
        raise _not_joined(f"process {number} cannot be one of {count}")
    name = "this process" if number is None or count is None else f"process {number} of {count}"
    missing = ProcessesMissing(
        f"{name} has waited {seconds:g} s for all processes of the run to join at {address or 'that of number 0'}: see "
        "what became of the others, and start all of them again."
    )
    # JAX would abort with a stack of C++ in place of a sentence.
    timer = _end_after(seconds, lambda: report(missing))
    try:
        jax.distributed.initialize(
            address, count, number,
            initialization_timeout=math.ceil(seconds) + 60, heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, IndexError, OSError, RuntimeError) as error:
        raise _not_joined(" ".join(str(error).split()) or type(error).__name__) from error
    finally:
        timer.cancel()


def _names_several_processes() -> bool:
    environment = os.environ
    if _ADDRESS in environment:
        return environment.get(_COUNT) != "1"
    if "OMPI_MCA_orte_hnp_uri" in environment:
        return environment.get("OMPI_COMM_WORLD_SIZE", "1") != "1"
    if "SLURM_STEP_NODELIST" in environment:  # a step; a shell within an allocation is none
        return environment.get("SLURM_NTASKS", "1") != "1"
    if not _has_tpu():
        return False
    slices = environment.get("MEGASCALE_NUM_SLICES")
    workers = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    if workers is None and "TPU_SKIP_MDS_QUERY" not in environment:
        workers = _metadata("worker-network-endpoints")
        match = re.search(r"MEGASCALE_NUM_SLICES: '(\d+)'", _metadata("tpu-env"))
        slices = slices or (match and match.group(1))
    return int(slices or 1) > 1 or "," in (workers or "")


def _has_tpu() -> bool:
    """Tells whether TPUs are attached to this machine and can be used, without taking them."""
    return has_tpu_devices() and importlib.util.find_spec("libtpu") is not None


def _metadata(key: str) -> str:
    """Reads an attribute of a machine from Google Cloud's metadata server; empty where there is none."""
    import urllib.request  # slow to import, and needed on few machines

    server = os.environ.get("GCE_METADATA_IP", "metadata.google.internal")
    url = f"http://{server}/computeMetadata/v1/instance/attributes/{key}"
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            return answer.read().decode()
    except (OSError, ValueError):
        return ""


def _whole_number(variable: str) -> int | None:
    text = os.environ.get(variable)
    try:
        return None if text is None else int(text)
    except ValueError:
        raise _not_joined(f"{variable}={text} is not a whole number") from None


def _join_seconds() -> float:
    text = os.environ.get("PALGAN_JOIN_SECONDS", "") or str(JOIN_SECONDS)
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise UserError(f"the variable PALGAN_JOIN_SECONDS={text} is not a number of seconds: give one, such as 300.")


def _not_joined(reason: str) -> UserError:
    return UserError(
        f"the other processes cannot be joined ({reason.rstrip('.')}): set {_ADDRESS} to HOST:PORT of process 0, "
        f"{_COUNT} and {_NUMBER}, or take --distributed=off."
    )


def _end_after(seconds: float, last: Callable[[], ExitCode]) -> threading.Timer:
    """Calls `last` and ends the process with the code that it returns, unless the timer is canceled before."""
    timer = threading.Timer(seconds, lambda: end_process(last()))
    timer.daemon = True
    timer.start()
    return timer
