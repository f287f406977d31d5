"""The devices of a TPU slice that is not there: enough to compile for, with libtpu and without any accelerator."""

import importlib.util
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from palgan_jax.benchmark.peaks import PEAKS, Peaks
from palgan_jax.errors import UserError

EXAMPLES = "v5e:1x1, v5e:4x4, v5e:16x16, v6e:16x16, v4:2x2x2, v5p:4x4x4"

ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",  # libtpu asks the cloud where it is, and waits for an answer, unless it is told
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # nothing is opened, so several processes may compile at the same time
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}


@dataclass(frozen=True)
class Slice:
    """The chips of a topology, such as v5e:4x4."""

    name: str
    devices: Sequence[Any]
    peaks: Peaks

    @property
    def chips(self) -> int:
        """How many there are: each is one device, also where it has two cores."""
        return len(self.devices)


def prepare_environment() -> None:
    """Tells libtpu that there is no TPU. To be called before JAX starts."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["JAX_PLATFORMS"] = "cpu"  # what runs here


def describe_slice(name: str) -> Slice:
    """The devices of a topology, by its name: `v5e:4x4`.

    Raises UserError where libtpu is not installed, and for a topology that does not exist.
    """
    generation, _, layout = name.partition(":")
    if generation not in PEAKS or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,2}", layout):
        raise UserError(
            f"{name} is no known topology: name a TPU ({', '.join(PEAKS)}) and its chips, such as {EXAMPLES}."
        )
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"there is no compiler for {name}: install it with `pip install -r requirements-tpu.txt` (Linux on x86-64)."
        )
    from jax.experimental import topologies

    sides = [int(side) for side in layout.split("x")]
    chips = math.prod(sides)
    # Of one or two chips, libtpu has to be told that a host has no more; of v4, that its two cores are one device.
    more: dict[str, Any] = {"chips_per_host_bounds": (*sides, 1, 1)[:3]} if chips <= 2 else {}
    if generation == "v4":
        more["chip_config_name"] = "megacore"
    try:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=name, **more).devices
    except Exception as error:  # jaxlib raises kinds of its own
        raise UserError(
            f"{name} is not a topology that can be compiled for ({_first_line(error)}): try one of {EXAMPLES}."
        ) from error
    return Slice(name, devices, PEAKS[generation])


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].replace(";", ",").rstrip(".") if str(error) else type(error).__name__
