"""Which of its platforms JAX looks for."""

import os
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

_GOOGLE = "0x1ae0"  # as the maker of PCI devices
_NAMES_A_TPU = (
    "JAX_FORCE_TPU_INIT", "TPU_ACCELERATOR_TYPE", "TPU_NAME", "TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES",
    "TPU_WORKER_ID",
)  # fmt: skip


def has_tpu_devices() -> bool:
    """Returns whether this machine shows devices of TPUs that can be opened."""
    return any(Path("/dev").glob("accel[0-9]*")) or any(Path("/dev/vfio").glob("[0-9]*"))


def leave_out_absent_tpus() -> None:
    """Keeps JAX, by JAX_PLATFORMS, from looking for TPUs where there are none, as on a PC that compiles for a pod.

    There, libtpu takes a while and writes to standard error what it misses. Nothing is left out where the environment
    names platforms or a TPU, nor where JAX has plugins for other accelerators.
    """
    if find_spec("libtpu") is None or any(name in os.environ for name in ("JAX_PLATFORMS", *_NAMES_A_TPU)):
        return
    if not (has_tpu_devices() or _has_google_device() or any(entry_points(group="jax_plugins"))):
        os.environ["JAX_PLATFORMS"] = "cpu"


def _has_google_device() -> bool:
    for path in Path("/sys/bus/pci/devices").glob("*/vendor"):
        try:
            if path.read_text().strip() == _GOOGLE:
                return True
        except OSError:
            continue
    return False
