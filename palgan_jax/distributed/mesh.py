"""The mesh, and where batches and states lie on it.

Mesh axes: "data" splits the batch; "fsdp" splits the batch too and, with it, every large array of the state. `jax.jit`
with these shardings is what pjit became, and does the work that pmap did.
"""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from palgan_jax.errors import UserError
from palgan_jax.util.threads import available_cores

BATCH_AXES = ("data", "fsdp")
SMALLEST_SHARDED = 2**16
"""Arrays of fewer elements are not worth splitting: each split costs a collective."""


def make_cores_devices(batch_size: int | None) -> None:
    """Makes one CPU device of each core, as far as their number divides the batch (None: any), 8 at most.

    Cores wait for each other less in as many programs than in one. To be called before JAX looks for devices; what the
    user or the other processes of a run have settled stays. Of no effect where JAX finds an accelerator.
    """
    is_settled = jax.config.jax_num_cpu_devices != -1  # type: ignore[attr-defined]
    if (
        is_settled
        or "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
        or jax.distributed.is_initialized()
    ):
        return
    fitting = [n for n in range(1, min(available_cores(), 8) + 1) if not batch_size or batch_size % n == 0]
    with contextlib.suppress(RuntimeError):  # JAX has looked already
        jax.config.update("jax_num_cpu_devices", fitting[-1])


def make_mesh(data: int = -1, fsdp: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """Returns the mesh of data x fsdp devices; -1 for data takes as many as there are.

    Raises UserError where the product is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    if fsdp < 1 or count % fsdp or (data != -1 and data * fsdp != count):
        raise UserError(
            f"mesh.data={data} x mesh.fsdp={fsdp} does not fit {count} devices: choose two numbers whose product "
            f"is {count}, or mesh.data=-1 to take what is there."
        )
    return jax.make_mesh((count // fsdp, fsdp), BATCH_AXES, axis_types=(AxisType.Auto,) * 2, devices=devices)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Splits the first axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """Places the same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def state_shardings(mesh: Mesh, abstract_state: Any) -> Any:
    """Returns a sharding for each leaf of a state; large ones are split over "fsdp" on the longest axis it divides."""
    parts = mesh.shape["fsdp"]

    def rule(leaf: jax.ShapeDtypeStruct) -> NamedSharding:
        divisible = [axis for axis, size in enumerate(leaf.shape) if size % parts == 0]
        if parts == 1 or not divisible or int(np.prod(leaf.shape)) < SMALLEST_SHARDED:
            return replicated(mesh)
        longest = max(divisible, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, "fsdp"))

    return jax.tree.map(rule, abstract_state)


def check_batch_size(batch_size: int, accumulate: int, mesh: Mesh) -> None:
    """Raises UserError where a batch cannot be split evenly over devices and accumulation steps."""
    if batch_size % (mesh.size * accumulate):
        raise UserError(
            f"batch_size={batch_size} cannot be split over {mesh.size} devices x accumulate={accumulate}: "
            f"make it a multiple of {mesh.size * accumulate}."
        )


def to_devices(local_batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts this process's share of a batch, leaves (b, ...), on the devices as part of the global batch (B, ...)."""
    sharding = batch_sharding(mesh)
    # The loop forbids transfers that nobody asked for; this is the one that it wants.
    with jax.transfer_guard_host_to_device("allow"):
        return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in local_batch.items()}
