"""The training loop: data, step, metrics, validation, sample sheets and checkpoints, resumable at any step."""

import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from clu import parameter_overview
from jax.sharding import Mesh
from ml_collections import ConfigDict

from palgan_jax.checkpoint import FOLDER, Checkpoints
from palgan_jax.config import (
    FREE,
    build_discriminator,
    build_generator,
    check_config,
    duration_in_steps,
)
from palgan_jax.data.pipeline import eval_batches, train_batches
from palgan_jax.data.source import Source, open_source
from palgan_jax.errors import UserError
from palgan_jax.fits import check_fits
from palgan_jax.imagenet_weights import load_vgg16
from palgan_jax.optim import make_optimizers
from palgan_jax.preemption import StopRequest
from palgan_jax.progress import Progress
from palgan_jax.samples import SampleSheets
from palgan_jax.sharding import (
    batch_sharding,
    check_batch_size,
    make_mesh,
    replicated,
    state_shardings,
    to_devices,
)
from palgan_jax.state import TrainState, ema_variables, init_state
from palgan_jax.train_step import make_train_step
from palgan_jax.validation import Validation, mean_ab
from palgan_jax.window import MetricsWindow
from palgan_jax.writers import MetricsWriter
from palgan_jax.writing import write_file

log = logging.getLogger(__name__)

BEST_MODES = {"val/ab_error": "min", "val/ab_error_truth_palette": "min", "val/palette_distance": "min"}
"""The measures of which less is better; of all others more is."""

MEAN_COLOUR_PICTURES = 5000
"""The baseline's mean colour is taken from at most so many training pictures."""


@dataclass(frozen=True)
class Durations:
    """The config's durations, in steps; 0 is never."""

    total: int
    decay_from: int
    log: int
    eval: int
    checkpoint: int
    sheet: int


def durations(config: ConfigDict, epoch_examples: int) -> Durations:
    """Durations of a config for a training set of so many pictures."""

    def steps(name: str, value: Any, total: int = 0) -> int:
        return duration_in_steps(value, name, batch_size=config.batch_size, epoch_examples=epoch_examples, total=total)

    total = steps("total", config.total)
    if not total:
        raise UserError(f"--config.total={config.total} trains nothing: it must be longer than 0.")
    return Durations(
        total,
        steps("optim.decay_from", config.optim.decay_from, total),
        *(steps(n, config[n], total) for n in ("log_every", "eval_every", "checkpoint_every", "sheet_every")),
    )


@dataclass
class Program:
    """The state's shape and places, and the compiled functions of a run."""

    generator: nn.Module
    abstract_state: TrainState
    init: Any  # key -> TrainState
    step: Any  # (TrainState, batch, vgg) -> (TrainState, metrics)


def compile_program(config: ConfigDict, mesh: Mesh, spans: Durations, vgg: Any) -> Program:
    """Compiles a run's step ahead of time for a mesh, and logs its cost and memory. Nothing is run or allocated."""
    generator, discriminator = build_generator(config), build_discriminator(config)
    g_tx, d_tx = make_optimizers(config.optim, spans.decay_from, spans.total)

    def init(key: jax.Array) -> TrainState:
        return init_state(key, generator, discriminator, g_tx, d_tx, config.resolution)

    everywhere, split = replicated(mesh), batch_sharding(mesh)
    abstract = jax.eval_shape(init, jax.random.key(config.seed))
    shardings = state_shardings(mesh, abstract)
    abstract = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), abstract, shardings
    )
    gathered = everywhere if mesh.shape["fsdp"] > 1 else None
    step = jax.jit(
        make_train_step(config, generator, discriminator, g_tx, d_tx, gathered),
        donate_argnums=0,
        in_shardings=(shardings, split, everywhere),
        out_shardings=(shardings, everywhere),
    )
    size = config.resolution
    batch = {"rgb": jax.ShapeDtypeStruct((config.batch_size, size, size, 3), np.uint8, sharding=split)}
    start = time.monotonic()
    compiled = step.lower(abstract, batch, vgg).compile()
    _log_cost(compiled, config.batch_size, mesh.size, time.monotonic() - start)
    return Program(generator, abstract, jax.jit(init, out_shardings=shardings, compiler_options=_once()), compiled)


def _once() -> dict[str, Any] | None:
    """Compiler options for what runs once: on the CPU, LLVM's work on a hundred random draws takes most of a start."""
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


def train(config: ConfigDict, workdir: str | Path) -> int:
    """Trains until the config's total, or until told to stop; the same call goes on where a run ended.

    Writes WORKDIR/{config.json,metrics.jsonl,checkpoints,sheets,data}. Returns the signal that ended it, or 0.

    Raises UserError for a config that does not fit the machine, the data or WORKDIR's checkpoints, and where a loss or
    a gradient is no longer finite.
    """
    check_config(config)
    if "://" in str(workdir):
        raise UserError(f"--workdir={workdir} is no folder: mount the storage, and give a path that all processes see.")
    workdir = Path(workdir)
    with StopRequest() as stop:
        return _train(config, workdir, stop)


def _train(config: ConfigDict, workdir: Path, stop: StopRequest) -> int:
    # ---------------------------------------------------------------------------------------------- machine and data
    mesh = make_mesh(**config.mesh)
    check_batch_size(config.batch_size, config.accumulate, mesh)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the working directory {workdir} cannot be made ({error.strerror}): choose another."
        ) from error
    log.info("%d %s device(s), mesh %s", mesh.size, jax.default_backend(), dict(mesh.shape))
    checkpoints = Checkpoints(
        workdir / FOLDER, keep=config.keep, best=config.best or None, best_mode=BEST_MODES.get(config.best, "max")
    )
    if checkpoints.latest_step is not None:
        check_fits(checkpoints.read_config(), config.to_dict(), free=FREE, where=str(workdir))
    source = _open(config.data.train, "data.train", config.data.near_gray, workdir)
    # Nothing is left out of what is measured.
    val_source = _open(config.data.val, "data.val", 0.0, workdir) if config.data.val else None
    spans = durations(config, len(source))
    share: Any = {"process_index": jax.process_index(), "process_count": jax.process_count()}

    def whole(pictures: Source, limit: int | None = None) -> Any:
        batches = eval_batches(pictures, resolution=config.resolution, batch_size=_eval_size(config, mesh), **share)
        return batches if limit is None else _first(batches, limit)

    # ---------------------------------------------------------------------------------------------- program and state
    vgg = None
    if config.loss.perceptual:
        vgg = jax.device_put(load_vgg16(config.loss.perceptual_weights or None), replicated(mesh))
    program = compile_program(config, mesh, spans, vgg)
    if checkpoints.latest_step is None:
        state, position, step = program.init(jax.random.key(config.seed)), 0, 0
        if jax.process_index() == 0:
            parameters = {**state.generator["params"], "discriminator": state.discriminator["params"]}
            sizes = {name: parameter_overview.count_parameters(part) for name, part in parameters.items()}
            log.info("parameters: %s", ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
    else:
        state, position, _ = checkpoints.restore(program.abstract_state)
        step = int(state.step)
        log.info("resumed at step %d of %d", step, spans.total)
        if step >= spans.total:
            log.info("there is nothing left to do: lengthen --config.total to go on")
    validation = sheets = None
    if val_source is not None and spans.eval and step < spans.total:
        mean = mean_ab(config, mesh, whole(source, -(-MEAN_COLOUR_PICTURES // _eval_size(config, mesh))))
        validation = Validation(config, program.generator, mesh, mean, whole(val_source))
    if val_source is not None and spans.sheet and step < spans.total:
        sheets = SampleSheets(config, program.generator, mesh, val_source, workdir / "sheets")
    if jax.process_index() == 0:
        write_file(workdir / "config.json", json.dumps(config.to_dict(), indent=2).encode())
    writer = MetricsWriter(workdir, step, config.tensorboard)
    batches = train_batches(
        source, resolution=config.resolution, batch_size=config.batch_size, seed=config.seed,
        workers=config.data.workers if config.data.workers >= 0 else "auto", min_scale=config.data.min_scale, **share,
    )  # fmt: skip
    batches.position = position

    # ------------------------------------------------------------------------------------------------------------ loop
    progress = Progress("training", spans.total, step)
    window = MetricsWindow(config.batch_size)
    told: dict[str, int] = {}  # pictures that could not be read any more, already named in the log

    def save(metrics: dict[str, float]) -> None:
        window.check_finite(checkpoints)
        checkpoints.save(step, state, data_position=batches.position, config=config.to_dict(), metrics=metrics)

    def due(every: int) -> bool:
        return every > 0 and (step % every == 0 or step == spans.total)

    try:
        with jax.transfer_guard("disallow"):
            while step < spans.total and not stop.asked(step):
                with window.waiting():
                    local = next(batches)
                state, metrics = program.step(state, to_devices({"rgb": local["rgb"]}, mesh), vgg)
                step += 1
                window.add(step, metrics, local)
                if due(spans.log):
                    window.check_finite(checkpoints)
                    line = window.close(metrics)
                    writer.write(step, line)
                    _tell_replaced(batches.replaced, told)
                    progress_note = f"G {line['loss/g']:.3f} D {line['loss/d']:.3f}"
                else:
                    progress_note = ""
                measured: dict[str, float] = {}
                with window.paused(), jax.transfer_guard("allow"):
                    if validation is not None and due(spans.eval):
                        measured = validation.run(ema_variables(state))
                        _check_best(config.best, measured)
                        writer.write(step, measured)
                        log.info("step %d: %s", step, _in_words(measured))
                    if sheets is not None and due(spans.sheet):
                        sheets.draw(step, ema_variables(state))
                    # What was measured is saved too: the best checkpoint can only be one that is known to be.
                    if due(spans.checkpoint) or (measured and config.best) or step == spans.total:
                        save(measured)
                progress.advance(progress_note)
            if step < spans.total:
                save({})
                log.info("told to stop: saved step %d; the same command goes on from there", step)
        checkpoints.wait()
    finally:
        progress.close()
        writer.close()
        batches.close()
        checkpoints.close()
    if step == spans.total:
        log.info("finished at step %d; checkpoints are in %s", step, workdir / FOLDER)
    return stop.signal or 0


def _check_best(best: str, measured: dict[str, float]) -> None:
    if best and best not in measured:
        raise UserError(f"--config.best={best} is not measured: choose one of {', '.join(sorted(measured))}.")


def _open(spec: str, field: str, near_gray: float, workdir: Path) -> Source:
    if not spec:
        raise UserError(f"--config.{field} is empty: say where the photographs are, e.g. folder:/path/to/photographs.")
    bar: list[Progress] = []

    def show(done: int, total: int) -> None:
        if not bar:
            bar.append(Progress(f"looking at {spec}", total, unit="picture"))
        bar[0].advance()

    source = open_source(spec, cache_dir=workdir / "data", near_gray=near_gray, progress=show)
    if bar:
        bar[0].close()
    log.info("%s", source.summary())
    return source


def _tell_replaced(replaced: dict[str, int], told: dict[str, int]) -> None:
    for name in replaced.keys() - told.keys():
        log.warning("%s cannot be read any more; the next picture takes its place", name)
    told.update(replaced)


def _eval_size(config: ConfigDict, mesh: Mesh) -> int:
    return max(config.batch_size // mesh.size, 1) * mesh.size


def _first(batches: Any, count: int) -> Any:
    for _, batch in zip(range(count), batches, strict=False):
        yield batch


def _in_words(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
