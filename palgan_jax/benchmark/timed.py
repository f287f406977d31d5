"""Runs and times the training step and inference of a config on the devices of this machine."""

import logging
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from palgan_jax.benchmark.compiled import STEPS, lower_predict, lower_train
from palgan_jax.benchmark.cost import cost_of
from palgan_jax.config import Phases, palette_spec
from palgan_jax.data.device import lab_batch
from palgan_jax.distributed.mesh import batch_sharding, check_batch_size, make_mesh, replicated
from palgan_jax.nn.build import activations_dtype
from palgan_jax.training.compile import compile_step, init_vgg, make_program
from palgan_jax.training.memory import check_memory
from palgan_jax.training.state import ema_variables

log = logging.getLogger(__name__)

WARM_UP = 2
MATRIX_SIDE = {"cpu": 2048}
"""Side of the matrices whose product is timed, by platform; 8192 elsewhere."""


def run_and_time(config: ConfigDict, steps: int, trace: Path | None = None) -> dict[str, Any]:
    """Times `steps` steps after a warm-up, as many batches colorized, and a product of matrices; returns the figures.

    Pictures are noise that is made on the devices: input is not measured. `trace` is a folder for a profile of the
    timed steps, in the format of xprof and TensorBoard. Raises UserError where the batch cannot be split.
    """
    mesh = make_mesh(**config.mesh)
    check_batch_size(config.batch_size, config.accumulate, mesh)
    program = make_program(config, mesh, Phases(STEPS, STEPS // 2))
    log.info("compiling for %d %s device(s) ...", mesh.size, jax.default_backend())
    step, step_seconds = _timed(lambda: compile_step(lower_train(config, mesh, program), mesh))
    check_memory(config, mesh, replace(program, step=step))
    predict = lower_predict(config, mesh, program).compile()
    state = program.init(jax.random.key(config.seed))
    batch = noise_batch(config, mesh)
    vgg = None
    if config.loss.perceptual:
        vgg = jax.jit(init_vgg, out_shardings=replicated(mesh))(jax.random.key(1))

    def train() -> Any:
        nonlocal state
        state, metrics = step(state, batch, vgg)
        return metrics

    log.info("timing %d steps of %d images ...", steps, config.batch_size)
    with _profile(trace):
        train_times = time_calls(train, steps)
    variables = ema_variables(state)
    log.info("timing inference ...")
    inference_times = time_calls(lambda: predict(variables, batch["rgb"]), steps)
    peak = matrix_peak(config)
    images = config.batch_size / mesh.size
    cost = cost_of(step, images=images, devices=mesh.size, compile_seconds=step_seconds)
    median = statistics.median(train_times)
    return {
        "platform": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "devices": mesh.size,
        "images_per_chip": images,
        "step_ms": _spread(train_times),
        "images_per_second": config.batch_size / median,
        "images_per_second_per_chip": images / median,
        "gflop_per_image": cost.flops / images / 1e9,
        "gb_per_image": cost.bytes / images / 1e9,
        "matrix_peak_gflops": peak / 1e9,
        "share_of_matrix_peak": cost.flops / median / peak,
        "inference": {
            "batch_ms": _spread(inference_times),
            "images_per_second": config.batch_size / statistics.median(inference_times),
        },
        "compile_seconds": step_seconds,
    }


def noise_batch(config: ConfigDict, mesh: Mesh) -> dict[str, jax.Array]:
    """Makes a training batch of noise on the devices."""
    shape = (config.batch_size, config.resolution, config.resolution, 3)

    def make(key: jax.Array) -> dict[str, jax.Array]:
        rgb = jax.random.randint(key, shape, 0, 256, jnp.int32).astype(jnp.uint8)
        return lab_batch(rgb, palette_spec(config), config.ab_range)

    return jax.jit(make, out_shardings=batch_sharding(mesh))(jax.random.key(0))


def time_calls(call: Callable[[], Any], count: int) -> list[float]:
    """Returns the seconds of each of `count` calls, each awaited before the next, after WARM_UP uncounted ones."""
    times = [_timed(lambda: jax.block_until_ready(call()))[1] for _ in range(WARM_UP + count)]
    return times[WARM_UP:]


def matrix_peak(config: ConfigDict) -> float:
    """Returns the operations a second of one device in a large product of matrices: the best of five.

    The precision is the config's.
    """
    side = MATRIX_SIDE.get(jax.default_backend(), 8192)
    x = jnp.full((side, side), 0.5, activations_dtype(config) or jnp.float32)
    product = jax.jit(jnp.matmul)
    return 2 * side**3 / min(time_calls(lambda: product(x, x), 5))


def _profile(folder: Path | None) -> AbstractContextManager[Any]:
    return jax.profiler.trace(str(folder)) if folder else nullcontext()


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.monotonic()
    result = work()
    return result, time.monotonic() - start


def _spread(times: list[float]) -> dict[str, float]:
    return {"median": statistics.median(times) * 1e3, "least": min(times) * 1e3, "most": max(times) * 1e3}
