"""What one evaluation measures, of which photographs and with which networks: settled before the first batch."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
from jax.sharding import Mesh

from palgan_jax import __version__
from palgan_jax.data.protocols import Pictures
from palgan_jax.errors import UserError
from palgan_jax.evaluation.names import select_photographs
from palgan_jax.evaluation.photographs import Photographs
from palgan_jax.evaluation.protocols import Protocol, difference
from palgan_jax.evaluation.resume import fingerprint
from palgan_jax.evaluation.systems import Predictions, System, unmeasurable
from palgan_jax.metrics.catalogue import EVALUATION
from palgan_jax.metrics.measure import Networks, load_networks

log = logging.getLogger(__name__)

_ON_CPU, _ON_ACCELERATOR = 8, 16  # photographs a device and batch


@dataclass(frozen=True)
class Plan:
    """What one evaluation measures.

    Attributes:
      system: the system that colorizes.
      truth: all pictures that there are.
      protocol: which of them are measured, and how they are resized.
      photographs: those that are measured.
      metrics: names of what is measured, in the order of the catalogue.
      absent: by metric, why it is not measured.
      networks: those that the metrics need.
      batch_size: of the global batch.
      seed: of the choice of other photographs.
      mesh: the devices.
    """

    system: System
    truth: Pictures
    protocol: Protocol
    photographs: Photographs
    metrics: tuple[str, ...]
    absent: dict[str, str]
    networks: Networks
    batch_size: int
    seed: int
    mesh: Mesh

    @property
    def title(self) -> str:
        """Returns system and protocol, for messages."""
        return f"{self.system.label} on {self.protocol.name}"

    @property
    def has_reference(self) -> bool:
        """Returns True where FID is measured against other photographs than those that the system paints."""
        return "fid" in self.metrics and self.protocol.reference is not None

    @cached_property
    def fingerprint(self) -> str:
        """Returns the digest of all that the numbers rest on. Devices and the size of batches are no part of it."""
        return fingerprint(
            {
                "system": [type(self.system).__name__, self.system.label, self.system.palette, self.system.weights],
                "protocol": [self.protocol.name, self.protocol.resize, self.protocol.side],
                "names": self.photographs.names,
                "truth": self.truth.digest(),
                "metrics": self.metrics,
                "networks": self.networks.sha256,
                "seed": self.seed,
                "version": __version__,
            }
        )


def make_plan(
    system: System,
    truth: Pictures,
    protocol: Protocol,
    metrics: Collection[str],
    batch_size: int | None,
    seed: int,
    mesh: Mesh,
) -> Plan:
    """Selects the photographs and loads the networks of the metrics. The arguments are those of `evaluate.evaluate`.

    Raises UserError where the truth has none of the protocol's pictures, the batch cannot be spread over the mesh,
    predictions do not fit the photographs, or the seed is out of its range.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"the seed is a whole number from 0 to {2**32 - 1}, not {seed}.")
    selection = select_photographs(truth, protocol)
    size = _batch_size(batch_size, mesh, len(selection.rows))
    networks = load_networks(metrics)
    reasons = networks.absent | unmeasurable(system, metrics)
    reasons |= {name: "it was not asked for" for name in EVALUATION if name not in metrics}
    measured = tuple(name for name in EVALUATION if name in metrics and name not in reasons)
    photographs = Photographs(truth, selection, protocol, system, measured, seed)
    if isinstance(system, Predictions) and photographs.names is not None:
        system.match(photographs.names)
    plan = Plan(system, truth, protocol, photographs, measured, reasons, networks, size, seed, mesh)
    _log_selection(plan)
    return plan


def _batch_size(size: int | None, mesh: Mesh, count: int) -> int:
    if size is None:  # no more than there are, since batches are filled up
        largest = _ON_CPU if jax.default_backend() == "cpu" else _ON_ACCELERATOR
        return mesh.size * min(largest, -(-count // mesh.size))
    if size < 1 or size % mesh.size:
        raise UserError(f"a batch of {size} cannot be spread over {mesh.size} devices: make it a multiple of that.")
    return size


def _log_selection(plan: Plan) -> None:
    if (left_out := len(plan.truth) - len(plan.photographs)) > 0:
        are = "picture is" if left_out == 1 else "pictures are"
        log.info("%s other %s not on the list of %s and not measured", f"{left_out:,}", are, plan.protocol.name)
    for name, reason in plan.truth.problems:
        log.warning("left out: %s, %s", name, reason)
    if plan.photographs.names is not None:
        warn_of_difference(plan.protocol, plan.photographs.names)


def warn_of_difference(protocol: Protocol, names: Sequence[str]) -> None:
    """Logs how the photographs differ from the protocol's, if they do; as soon as their names are known."""
    if differs := difference(protocol, names):
        log.warning("these are not the pictures of %s, whose name is refused: %s", protocol.name, differs)
