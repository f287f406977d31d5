"""Compiles the training step and inference of a config for a topology; nothing is run."""

import logging
import re
import time
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.stages import Compiled, Lowered
from ml_collections import ConfigDict

from palgan_jax.benchmark.cost import Cost, cost_of
from palgan_jax.benchmark.topology import Slice
from palgan_jax.config import Phases
from palgan_jax.distributed.mesh import batch_sharding, check_batch_size, make_mesh
from palgan_jax.errors import UserError
from palgan_jax.training.compile import Program, abstract_vgg, compile_step, lower_step, make_program
from palgan_jax.training.state import ema_variables
from palgan_jax.training.step import make_predict

log = logging.getLogger(__name__)

FUNCTIONS = ("train", "inference")
STEPS = 100_000
"""Length of the run that the step is compiled for: a constant of the program, which costs nothing."""


def compile_for(config: ConfigDict, chips: Slice, functions: Sequence[str] = FUNCTIONS) -> dict[str, Cost]:
    """Returns the costs of `functions` on a slice; `config.batch_size` is that of all chips together.

    Raises UserError where the batch cannot be split, or where a chip's memory is too small for it.
    """
    mesh = make_mesh(**config.mesh, devices=chips.devices)
    check_batch_size(config.batch_size, config.accumulate, mesh)
    program = make_program(config, mesh, Phases(STEPS, STEPS // 2))
    programs = {
        "train": ("the training step", lower_train, partial(compile_step, mesh=mesh)),
        "inference": ("inference", lower_predict, Lowered.compile),
    }
    costs = {}
    for name in functions:
        label, lower, compile_ = programs[name]
        costs[name] = _cost(label, partial(lower, config, mesh, program), compile_, config, chips)
    return costs


def lower_train(config: ConfigDict, mesh: Mesh, program: Program) -> Lowered:
    """Lowers the training step as training runs it; the parameters of the perceptual network are shapes alone."""
    return lower_step(program, config, mesh, abstract_vgg(mesh) if config.loss.perceptual else None)


def lower_predict(config: ConfigDict, mesh: Mesh, program: Program) -> Lowered:
    """Lowers the function that colorizes uint8 pictures with the EMA weights, as for the sheets of a run."""
    side = config.resolution
    rgb = jax.ShapeDtypeStruct((config.batch_size, side, side, 3), jnp.uint8, sharding=batch_sharding(mesh))
    predict = jax.jit(make_predict(config, program.generator), out_shardings=batch_sharding(mesh))
    return predict.lower(ema_variables(program.abstract_state), rgb)


def compile_lowered(
    lowered: Lowered, label: str, images: int, chips: Slice, compile_: Callable[[Lowered], Compiled] = Lowered.compile
) -> Compiled:
    """Compiles `label`, of `images` images a chip. Raises UserError where a chip's memory is too small for it."""
    try:
        return compile_(lowered)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(
            f"{label} of {images} images does not fit a chip of {chips.name}{_needed(str(error))}: lower --batch."
        ) from error


def _needed(text: str) -> str:
    """Returns " (it needs 20G of 15.75G)" from the two forms of libtpu's message, "" from others."""
    match = re.search(r"\((\S+)\) exceeds available HBM \((\S+)\)|Used (\S+) of (\S+) hbm", text)
    sizes = [size for size in match.groups() if size] if match else []
    return f" (it needs {sizes[0]} of {sizes[1]})" if sizes else ""


def _cost(
    label: str,
    lower: Callable[[], Lowered],
    compile_: Callable[[Lowered], Compiled],
    config: ConfigDict,
    chips: Slice,
) -> Cost:
    images = config.batch_size // chips.chips
    log.info("compiling %s for %s, %d images a chip ...", label, chips.name, images)
    start = time.monotonic()
    lowered = lower()
    middle = time.monotonic()
    compiled = compile_lowered(lowered, label, images, chips, compile_)
    seconds = time.monotonic() - middle
    log.info("compiled in %.0f s, after %.0f s of tracing and lowering", seconds, middle - start)
    return cost_of(compiled, images=images, devices=chips.chips, compile_seconds=seconds)
