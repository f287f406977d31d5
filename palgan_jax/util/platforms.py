"""Which of its platforms JAX looks for."""

import os
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

_GOOGLE = "0x1ae0"  # as the maker of PCI devices
_DISK_OR_NETWORK = ("0x01", "0x02")  # their classes
_NAMES_A_TPU = (
    "JAX_FORCE_TPU_INIT", "TPU_ACCELERATOR_TYPE", "TPU_NAME", "TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES",
    "TPU_WORKER_ID",
)  # fmt: skip


def has_tpu_devices() -> bool:
    """Returns whether this machine shows devices of TPUs that can be opened."""
    return any(Path("/dev").glob("accel[0-9]*")) or any(Path("/dev/vfio").glob("[0-9]*"))


def may_have_accelerator() -> bool:
    """Returns whether JAX may find an accelerator here, without starting it, which takes a while."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms == "cpu":
        return False
    if any(entry_points(group="jax_plugins")):
        return True
    is_named = bool(platforms) or any(name in os.environ for name in _NAMES_A_TPU)
    return find_spec("libtpu") is not None and (is_named or has_tpu_devices() or _has_google_accelerator())


def leave_out_absent_tpus() -> None:
    """Keeps JAX, by JAX_PLATFORMS, from looking for TPUs where there are none, as on a PC that compiles for a pod.

    There, libtpu takes a while and writes to standard error what it misses. Nothing is left out where the environment
    names platforms or a TPU, nor where JAX has plugins for other accelerators.
    """
    if find_spec("libtpu") is not None and "JAX_PLATFORMS" not in os.environ and not may_have_accelerator():
        os.environ["JAX_PLATFORMS"] = "cpu"


def _has_google_accelerator() -> bool:
    """Returns whether a PCI device is Google's, and neither a disk nor a network card, as its virtual machines have."""
    for device in Path("/sys/bus/pci/devices").glob("*"):
        try:
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
        except OSError:
            continue
        if vendor == _GOOGLE and not kind.startswith(_DISK_OR_NETWORK):
            return True
    return False
