"""Compiles the programs of a run ahead of time: the initialization of the state, and the step."""

import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.stages import Compiled, Lowered
from ml_collections import ConfigDict

from palgan_jax.config import Phases, palette_spec
from palgan_jax.data.device import abstract_lab_batch
from palgan_jax.distributed.mesh import batch_sharding, replicated, state_shardings
from palgan_jax.nn.build import build_discriminator, build_generator
from palgan_jax.nn.ops.tpu.kernel import are_tpus
from palgan_jax.pretrained.vgg_alexnet import VGG16
from palgan_jax.training.losses import PERCEPTUAL_WEIGHTS
from palgan_jax.training.optimizers import make_optimizers
from palgan_jax.training.state import TrainState, init_state
from palgan_jax.training.step import make_train_step
from palgan_jax.util.compilation import no_garbage_collection

log = logging.getLogger(__name__)

TPU_OPTIONS: dict[str, str | bool] = {"xla_tpu_msa_inefficient_use_to_copy_ratio": "16"}
"""Compiler options of the step: an array is moved to the vector memory only where that saves 16 times the bytes of the
move. By default the compiler moves more in and out than it saves (docs/performance.md)."""


@dataclass(frozen=True)
class Program:
    """The functions of a run, and the shapes and shardings of its state."""

    generator: nn.Module
    abstract_state: TrainState
    init: Any  # key -> TrainState
    step: Any  # (TrainState, batch, vgg) -> (TrainState, metrics)


def compile_program(program: Program, config: ConfigDict, mesh: Mesh, vgg: Any, *, fresh: bool = True) -> Program:
    """Compiles a run's step ahead of time for a mesh, and logs its cost and memory. Nothing is run or allocated.

    `program` is that of `make_program`; `vgg` holds the parameters of the perceptual network, or None. `fresh`
    compiles the initialization of the state too, at the same time.
    """
    start = time.monotonic()
    with no_garbage_collection(), ThreadPoolExecutor(1, "compiler") as pool:
        if fresh:  # the compiler leaves Python free to trace the step
            init = pool.submit(program.init.lower(jax.random.key(config.seed)).compile)
            program = replace(program, init=lambda key: init.result()(key))
        program = replace(program, step=compile_step(lower_step(program, config, mesh, vgg), mesh))
    _log_cost(program.step, config.batch_size, mesh.size, time.monotonic() - start)
    return program


def make_program(config: ConfigDict, mesh: Mesh, phases: Phases) -> Program:
    """Returns the functions of a run, jitted and not compiled, on a mesh, which may be of absent devices."""
    generator, discriminator = build_generator(config, mesh), build_discriminator(config, mesh)
    g_tx, d_tx = make_optimizers(config, phases)

    def init(key: jax.Array) -> TrainState:
        return init_state(key, generator, discriminator, g_tx, d_tx, config.resolution)

    on_all, split = replicated(mesh), batch_sharding(mesh)
    abstract = jax.eval_shape(init, jax.random.key(config.seed))
    shardings = state_shardings(mesh, abstract)
    abstract = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), abstract, shardings
    )
    parameters = on_all if mesh.shape["fsdp"] > 1 else None
    step = jax.jit(
        make_train_step(config, generator, discriminator, g_tx, d_tx, parameters),
        donate_argnums=0,
        in_shardings=(shardings, split, on_all),
        out_shardings=(shardings, on_all),
    )
    return Program(generator, abstract, jax.jit(init, out_shardings=shardings, compiler_options=_once()), step)


def lower_step(program: Program, config: ConfigDict, mesh: Mesh, vgg: Any) -> Lowered:
    """Returns the step of a run, lowered for its mesh. `vgg` may be shapes."""
    batch = abstract_lab_batch(config.batch_size, config.resolution, palette_spec(config), config.ab_range, mesh)
    return program.step.lower(program.abstract_state, batch, vgg)


def init_vgg(key: jax.Array) -> Any:
    """Draws parameters of the perceptual network: they cost as much as trained ones."""
    return VGG16(tuple(PERCEPTUAL_WEIGHTS)).init(key, jnp.zeros((1, 64, 64, 3)))["params"]


def abstract_vgg(mesh: Mesh) -> Any:
    """Returns shapes and shardings of the parameters of the perceptual network."""
    params = jax.eval_shape(init_vgg, jax.random.key(0))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), params)


def compile_step(lowered: Lowered, mesh: Mesh) -> Compiled:
    """Compiles a step for its mesh."""
    if not are_tpus(mesh):
        return lowered.compile()
    try:
        return lowered.compile(compiler_options=TPU_OPTIONS)
    except jax.errors.JaxRuntimeError as error:
        if not any(option in str(error) for option in TPU_OPTIONS):
            raise
        log.warning("this libtpu does not know all of %s: the step is compiled without", ", ".join(TPU_OPTIONS))
        return lowered.compile()


def _once() -> dict[str, Any] | None:
    """Returns compiler options for what runs once: on the CPU, LLVM would take most of a start for a hundred draws."""
    if jax.default_backend() != "cpu":
        return None
    return {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def _log_cost(compiled: Any, batch_size: int, devices: int, seconds: float) -> None:
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    pictures = batch_size / devices
    log.info(
        "step compiled in %.1f s: %.2f GFLOP and %.3f GB accessed a picture",
        seconds, cost.get("flops", math.nan) / pictures / 1e9, cost.get("bytes accessed", math.nan) / pictures / 1e9,
    )  # fmt: skip
    if memory is not None:
        log.info(
            "memory a device: %.2f GB of arguments (%.2f GB of them reused for the results), %.2f GB temporary",
            memory.argument_size_in_bytes / 1e9, memory.alias_size_in_bytes / 1e9, memory.temp_size_in_bytes / 1e9,
        )  # fmt: skip
