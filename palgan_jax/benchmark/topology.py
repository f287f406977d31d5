"""TPU slices to compile for: their devices, which libtpu describes without any accelerator, and their peaks."""

import importlib.util
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from palgan_jax.errors import UserError, one_line

EXAMPLES = "v5e:1x1, v5e:4x4, v5e:16x16, v6e:16x16, v4:2x2x2, v5p:4x4x4"

ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",  # without it, libtpu asks a metadata server where it runs, and waits for the answer
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # nothing is opened, so several processes may compile at the same time
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}


@dataclass(frozen=True)
class Peaks:
    """The limits of one chip, from Google Cloud's documentation.

    Sources, one page a generation: https://cloud.google.com/tpu/docs/v4, .../v5e, .../v5p and .../v6e, "key
    specifications" (read 2026-11). The page on v4 names no bandwidth of links: it is that of Jouppi et al. (2023, "TPU
    v4: An optically reconfigurable supercomputer for machine learning", table 4: six links of 50 GB/s).
    """

    flops: float
    """Operations a second in products of bfloat16 matrices."""
    bandwidth: float
    """Bytes a second to and from HBM."""
    memory: float
    """Bytes of HBM."""
    links: float
    """Bytes a second over all links to other chips, both directions together."""
    source: str

    @property
    def sending(self) -> float:
        """Returns the bytes a second that a chip sends over all of its links together."""
        return self.links / 2


def _peaks(tflops: float, gbps: float, memory: float, links: float, page: str) -> Peaks:
    return Peaks(tflops * 1e12, gbps * 1e9, memory, links * 1e9, f"https://cloud.google.com/tpu/docs/{page}")


PEAKS = {
    "v4": _peaks(275, 1200, 32 * 2**30, 600, "v4"),
    "v5e": _peaks(197, 819, 16e9, 400, "v5e"),
    "v5p": _peaks(459, 2765, 95e9, 1200, "v5p"),
    "v6e": _peaks(918, 1638, 32e9, 800, "v6e"),
}
"""By generation, with which the name of a topology starts."""


@dataclass(frozen=True)
class Slice:
    """The chips of a topology, such as v5e:4x4."""

    name: str
    devices: Sequence[Any]
    peaks: Peaks

    @property
    def chips(self) -> int:
        """Returns the number of chips; each is one device, also where it has two cores."""
        return len(self.devices)


def prepare_environment() -> None:
    """Tells libtpu that there is no TPU; must be called before JAX starts."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["JAX_PLATFORMS"] = "cpu"  # what runs here


def describe_slice(name: str) -> Slice:
    """Describes the slice of a topology, by its name, such as v5e:4x4.

    Raises UserError where libtpu is not installed, and for a topology that does not exist.
    """
    generation, _, layout = name.partition(":")
    if generation not in PEAKS or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,2}", layout):
        raise UserError(
            f"{name} is no known topology: name a TPU ({', '.join(PEAKS)}) and its chips, such as {EXAMPLES}."
        )
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"there is no compiler for {name}: install it with `pip install -e '.[tpu]'` (Linux on x86-64)."
        )
    from jax.experimental import topologies

    sides = [int(side) for side in layout.split("x")]
    chips = math.prod(sides)
    # libtpu assumes hosts of more chips, and that the two cores of a v4 chip are two devices.
    options: dict[str, Any] = {"chips_per_host_bounds": (*sides, 1, 1)[:3]} if chips <= 2 else {}
    if generation == "v4":
        options["chip_config_name"] = "megacore"
    try:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=name, **options).devices
    except Exception as error:  # jaxlib has exceptions of its own
        reason = one_line(error).replace(";", ",")
        raise UserError(
            f"{name} is not a topology that can be compiled for ({reason}): try one of {EXAMPLES}."
        ) from error
    return Slice(name, devices, PEAKS[generation])
