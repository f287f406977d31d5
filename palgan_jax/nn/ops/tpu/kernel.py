"""Pallas kernels for TPUs, run by each chip of a mesh on its own pictures.

The compiler splits its own operations over chips, but no kernels: these have to be told which pictures are a chip's.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental import pallas as pl
from jax.experimental.layout import Layout, with_layout_constraint
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import Mesh, PartitionSpec

MIB = 2**20


def has_room(mesh: Mesh, batch: int, size: int) -> bool:
    """Returns whether a batch can be split over the chips, and a kernel of `size` bytes fits their vector memory."""
    return batch % mesh.size == 0 and size <= _vector_memory(mesh)


def _vector_memory(mesh: Mesh) -> int:
    """Returns the bytes that a kernel may take: of 16 MiB a core up to v4, and of 64 or more in later chips."""
    old = mesh.devices.flat[0].device_kind.startswith(("TPU v2", "TPU v3", "TPU v4"))
    return 14 * MIB if old else 40 * MIB


def tiled(size: int, tile: int) -> int:
    """Rounds a size up to whole tiles."""
    return -(-size // tile) * tile


def on_each_chip(mesh: Mesh, function: Callable[..., Any], *pictures: jax.Array, shared: tuple[jax.Array, ...]) -> Any:
    """Calls function(*pictures, *shared) on each chip for its own pictures; its results have the batch first too."""
    split, replicas = PartitionSpec(mesh.axis_names), PartitionSpec()
    specs = (*[split] * len(pictures), *[replicas] * len(shared))
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)(*pictures, *shared)


def laid_as_by_convolutions(x: jax.Array, mesh: Mesh) -> jax.Array:
    """Lays out a picture (B, H, W, C) with batch and channels close together, as convolutions do.

    The result of a kernel lies otherwise, and the compiler would turn what is added to it, and turn it back.
    """
    return with_layout_constraint(x, Layout(major_to_minor=(1, 2, 0, 3))) if are_tpus(mesh) else x


def are_tpus(mesh: Mesh) -> bool:
    """Returns whether the devices of a mesh are TPUs, present or not."""
    return mesh.devices.flat[0].platform == "tpu"


def kernel(body: Callable[..., None], mesh: Mesh, **options: Any) -> Callable[..., Any]:
    """Returns a kernel for the devices of a mesh, with the grid (pictures, parts of one); others interpret it."""
    # Two cores that are one device take half of the pictures each.
    params = pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=_vector_memory(mesh))
    run = pl.pallas_call(body, interpret=not are_tpus(mesh), compiler_params=params, **options)

    def in_main_memory(x: jax.Array) -> jax.Array:
        # The compiler would bring whole batches into the vector memory, of which a kernel takes a part at a time.
        return pltpu.with_memory_space_constraint(x, pltpu.HBM) if are_tpus(mesh) else x

    return lambda *arguments: run(*map(in_main_memory, arguments))
