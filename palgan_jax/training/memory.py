"""Whether the training step fits the memory of the devices: the settings that would fit, and the largest batch."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from palgan_jax.config import Phases
from palgan_jax.distributed.mesh import make_mesh
from palgan_jax.errors import UserError
from palgan_jax.training.compile import Program, abstract_vgg, compile_step, lower_step, make_program
from palgan_jax.util.memory import memory_of, needed_and_there
from palgan_jax.util.progress import Waiting
from palgan_jax.util.text import in_words

log = logging.getLogger(__name__)

USABLE = 0.95
"""The share of the memory that the step may take: batches that are ready and other programs need some as well."""
SPARE = 0.75
"""The share of a CPU's memory that --fit takes: compilers and the input take from the same."""
COMPILATIONS = 4
"""The most batches that are compiled to find the largest."""


@dataclass(frozen=True)
class Need:
    """The bytes that a step needs of one device.

    Attributes:
      fixed: of the state, whatever the batch.
      working: of all that grows with the batch.
    """

    fixed: float
    working: float

    @property
    def total(self) -> float:
        """Returns the sum."""
        return self.fixed + self.working


def need_of(program: Program) -> Need | None:
    """Returns what the compiled step of a program says that it needs; None where it does not say."""
    memory = program.step.memory_analysis()
    if memory is None:
        return None
    arguments, results = memory.argument_size_in_bytes, memory.output_size_in_bytes - memory.alias_size_in_bytes
    fixed = state_bytes(program.abstract_state)
    return Need(fixed, max(arguments + results + memory.temp_size_in_bytes - fixed, 0.0))


def state_bytes(abstract_state: Any) -> int:
    """Returns the bytes of a state, or of its shapes, on one device."""
    return sum(
        leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape))
        for leaf in jax.tree.leaves(abstract_state)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def room(mesh: Mesh, *, free: bool = False) -> float | None:
    """Returns the bytes that one device of a mesh has for the step; None where nobody knows.

    `free` leaves out what other processes of a CPU's machine take at present.
    """
    device = next((d for d in mesh.devices.flat if d.process_index == jax.process_index()), None)
    memory = None if device is None else memory_of(device, free=free)
    # The devices of a CPU share its memory.
    sharing = len(mesh.local_devices) if device is not None and device.platform == "cpu" else 1
    return None if memory is None else USABLE * memory / sharing


def check_memory(config: ConfigDict, mesh: Mesh, program: Program) -> None:
    """Raises UserError where a compiled step needs more memory than a device has."""
    need, memory = need_of(program), room(mesh)
    if need is not None and memory is not None and need.total > memory:
        raise too_large(config, mesh, need, memory)


def out_of_memory(error: Exception, config: ConfigDict, program: Program | None = None) -> UserError:
    """Returns the sentence for an error that is a lack of memory.

    `program` is that of the run, where its step was compiled before the error.
    """
    mesh = make_mesh(**config.mesh)
    need, memory = None if program is None else need_of(program), room(mesh)
    if sizes := needed_and_there(str(error)):
        fixed = state_bytes(make_program(config, mesh, Phases(2, 1)).abstract_state)
        need, memory = Need(fixed, max(sizes[0] - fixed, 0.0)), sizes[1]
    return too_large(config, mesh, need, memory)


def fitting_batch(config: ConfigDict, mesh: Mesh, most: int) -> int:
    """Returns the largest batch, up to `most`, with which the step of a config fits the memory of the mesh's devices.

    Compiles the step of several batches. Raises UserError where none fits, and where the devices do not say what they
    have.
    """
    least = mesh.size * config.accumulate

    def need_at(batch: int) -> float:
        trial = config.copy_and_resolve_references()
        trial.batch_size = batch
        program = make_program(trial, mesh, Phases(2, 1))
        vgg = abstract_vgg(mesh) if config.loss.perceptual else None
        with Waiting(f"compiling the training step for a batch of {batch}", shown=jax.process_index() == 0):
            try:
                program = replace(program, step=compile_step(lower_step(program, trial, mesh, vgg), mesh))
            except jax.errors.JaxRuntimeError as error:
                sizes = needed_and_there(str(error))
                if sizes is None:
                    raise
                return sizes[0]
        need = need_of(program)
        if need is None:
            raise UserError("the compiler does not say how much memory the step needs: leave out --fit.")
        return need.total

    smallest = need_at(least)
    # Only here, since a compiler keeps some of a CPU's memory.
    memory = room(mesh, free=True)
    if memory is None:
        raise UserError("these devices do not say how much memory they have: leave out --fit.")
    memory *= SPARE if mesh.devices.flat[0].platform == "cpu" else 1.0
    batch = largest_batch(
        lambda size: smallest if size == least else need_at(size), memory, least, config.batch_size, most
    )
    log.info(
        "a batch of %d is the largest that fits into %s a device; learning rates stay as they are",
        batch, in_words(memory),
    )  # fmt: skip
    return batch


def too_large(config: ConfigDict, mesh: Mesh, need: Need | None, memory: float | None) -> UserError:
    """Returns the sentence for a step that does not fit, with the settings that would by its own figures."""
    if need is None or memory is None:
        return UserError(
            "the training step needs more memory than there is: lower --config.batch_size, raise --config.accumulate, "
            "or lower --config.resolution or --config.net.width."
        )
    # What the machine has may be taken by others: then half of the need is aimed at.
    aim = memory if need.total > memory else need.total / 2
    availability = f"there are {in_words(memory)}" if need.total > memory else "that much is not free"
    settings = fitting(config, mesh.size, need, aim)
    advice = ", or ".join(settings) or "a smaller batch, resolution and width together"
    return UserError(
        f"the training step needs {in_words(need.total)} a device ({in_words(need.fixed)} of them whatever the batch), "
        f"and {availability}: by these figures {advice} would fit."
    )


def fitting(config: ConfigDict, devices: int, need: Need, memory: float) -> list[str]:
    """Returns the settings, each by itself, with which a step of this need would fit into so many bytes.

    What grows with the batch does so with its parts, with the area of the pictures and with the width; the state with
    the square of the width. With parts, the sum of the gradients is kept, which takes a quarter of the state.
    """
    settings, least = [], devices * config.accumulate
    batch = int((memory - need.fixed) / max(need.working, 1.0) * config.batch_size) // least * least
    if batch >= least:
        settings.append(f"--config.batch_size={batch}")
    for parts in range(config.accumulate + 1, config.batch_size // devices + 1):
        shrunk = need.working * config.accumulate / parts
        if config.batch_size % (parts * devices) == 0 and 1.25 * need.fixed + shrunk <= memory:
            settings.append(f"--config.accumulate={parts}")
            break
    for resolution in range(config.resolution - 64, 0, -64):
        if need.fixed + need.working * (resolution / config.resolution) ** 2 <= memory:
            settings.append(f"--config.resolution={resolution}")
            break
    for halvings in (1, 2, 3):
        if need.fixed / 4**halvings + need.working / 2**halvings <= memory:
            width, discriminator_width = config.net.width / 2**halvings, config.discriminator.width / 2**halvings
            settings.append(f"--config.net.width={width:g} with --config.discriminator.width={discriminator_width:g}")
            break
    return settings


def largest_batch(need_at: Callable[[int], float], memory: float, least: int, first: int, most: int) -> int:
    """Returns the largest batch, a multiple of `least` and at most `most`, whose step needs at most `memory` bytes.

    Args:
      need_at: compiles the step of a batch and returns what it needs; called COMPILATIONS times at most, and for the
        batch that is returned.
      memory: bytes.
      least: the smallest batch.
      first: a batch to begin with, of which no harm is known.
      most: the largest batch of use.

    Raises UserError where `least` does not fit either.
    """
    most = max(most // least * least, least)
    needs = {least: need_at(least)}
    if needs[least] > memory:
        raise UserError(
            f"a batch of {least} needs {in_words(needs[least])} a device and there are {in_words(memory)}: lower "
            "--config.resolution or --config.net.width."
        )
    candidate = min(max(first // least, 2) * least, most)
    while candidate not in needs and len(needs) < COMPILATIONS:
        needs[candidate] = need_at(candidate)
        (a, b) = sorted(needs)[:2] if len(needs) == 2 else sorted(needs, key=lambda size: abs(needs[size] - memory))[:2]
        slope = (needs[b] - needs[a]) / (b - a)
        line = a + (memory - needs[a]) / slope if slope > 0 else most
        best = max(size for size in needs if needs[size] <= memory)
        smallest_failure = min((size for size in needs if needs[size] > memory), default=most + least)
        candidate = min(max(int(line) // least * least, best), (smallest_failure - 1) // least * least)
    return max(size for size in needs if needs[size] <= memory)
