"""The training loop: data, step, metrics, validation, sample sheets and checkpoints, resumable at any step."""

import enum
import json
import logging
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import jax
from clu import parameter_overview
from jax.sharding import Mesh
from ml_collections import ConfigDict

from palgan_jax.checkpoint.compatibility import check_fits
from palgan_jax.checkpoint.saving import FOLDER, Checkpoints
from palgan_jax.config import FREE, check_config, duration_in_steps, palette_spec
from palgan_jax.data.device import DeviceBatches, make_lab_stage
from palgan_jax.data.protocols import Source
from palgan_jax.data.train_batches import eval_batches, train_batches
from palgan_jax.distributed.mesh import check_batch_size, make_mesh, replicated
from palgan_jax.distributed.preemption import StopRequest
from palgan_jax.errors import DataStopped, UserError
from palgan_jax.pretrained.load import load_vgg16
from palgan_jax.training.compile import compile_program
from palgan_jax.training.data import LostPictures, open_data
from palgan_jax.training.metrics_file import MetricsWriter
from palgan_jax.training.sample_sheets import SampleSheets
from palgan_jax.training.state import ema_variables
from palgan_jax.training.timing import InputWatch, MetricsWindow
from palgan_jax.training.validation import LESS_IS_BETTER, Validation, mean_ab
from palgan_jax.util.files import write_file
from palgan_jax.util.progress import Progress

log = logging.getLogger(__name__)

MEAN_COLOR_PICTURES = 5000
"""The baseline's mean color is taken from at most so many training pictures."""


class Outcome(enum.Enum):
    """How a call of `train` ended."""

    FINISHED = "finished"
    STOPPED = "stopped"  # early and saved, by SIGTERM or Ctrl-C: the same call goes on from there


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


def train(config: ConfigDict, workdir: str | Path) -> Outcome:
    """Trains until the config's total, or until told to stop; the same call goes on where a run ended.

    Writes WORKDIR/{config.json,metrics.jsonl,checkpoints,sheets,data}.

    Raises UserError for a config that does not fit the machine, the data or WORKDIR's checkpoints, and where a loss or
    a gradient is no longer finite; DataStopped, after saving, where the pictures are gone.
    """
    check_config(config)
    if "://" in str(workdir):
        raise UserError(f"--workdir={workdir} is no folder: mount the storage, and give a path that all processes see.")
    workdir = Path(workdir)

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
    if (count := jax.process_count()) > 1:
        rows = config.batch_size // count
        first = jax.process_index() * rows
        log.info("process %d has rows %d to %d of each batch", jax.process_index(), first, first + rows - 1)
    checkpoints = Checkpoints(
        workdir / FOLDER,
        keep=config.keep,
        best=config.best or None,
        best_mode="min" if config.best.removeprefix("val/") in LESS_IS_BETTER else "max",
    )
    if checkpoints.latest_step is not None:
        check_fits(checkpoints.read_config(), config.to_dict(), free=FREE, where=str(workdir))
    source = open_data(config, "train", config.data.near_gray, workdir)
    # Nothing is left out of what is measured.
    val_source = open_data(config, "val", 0.0, workdir) if config.data.val else None
    spans = durations(config, len(source))
    share: Any = {"process_index": jax.process_index(), "process_count": jax.process_count()}

    def whole(pictures: Source, limit: int | None = None) -> Any:
        batches = eval_batches(pictures, resolution=config.resolution, batch_size=_eval_size(config, mesh), **share)
        return batches if limit is None else islice(batches, limit)

    # ---------------------------------------------------------------------------------------------- program and state
    vgg = None
    if config.loss.perceptual:
        vgg = jax.device_put(load_vgg16(config.loss.perceptual_weights or None), replicated(mesh))
    program = compile_program(config, mesh, spans.total, spans.decay_from, vgg, fresh=checkpoints.latest_step is None)
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
        mean = mean_ab(config, mesh, whole(source, -(-MEAN_COLOR_PICTURES // _eval_size(config, mesh))))
        validation = Validation(config, program.generator, mesh, mean, whole(val_source))
    if val_source is not None and spans.sheet and step < spans.total:
        sheets = SampleSheets(config, program.generator, mesh, val_source, workdir / "sheets")
    if jax.process_index() == 0:
        write_file(workdir / "config.json", json.dumps(config.to_dict(), indent=2).encode())
    writer = MetricsWriter(workdir, step, config.tensorboard)
    batches = train_batches(
        source, resolution=config.resolution, batch_size=config.batch_size, seed=config.seed,
        workers=config.data.workers if config.data.workers >= 0 else "auto", min_scale=config.data.min_scale,
        max_replaced=config.data.max_unreadable, position=position, **share,
    )  # fmt: skip
    stage = make_lab_stage(palette_spec(config), config.ab_range, mesh)

    # ------------------------------------------------------------------------------------------------------------ loop
    progress = Progress("training", spans.total, step, shown=jax.process_index() == 0)
    window = MetricsWindow(config.batch_size, source.file_bytes, batches.decoders)
    fed = DeviceBatches(batches, stage, window.waiting)
    watch, lost = InputWatch(), LostPictures(workdir / "data")

    def save(metrics: dict[str, float]) -> None:
        window.check_finite(checkpoints)
        checkpoints.save(step, state, data_position=fed.position, config=config.to_dict(), metrics=metrics)

    def due(every: int) -> bool:
        return every > 0 and (step % every == 0 or step == spans.total)

    def write_line(metrics: dict[str, jax.Array]) -> str:
        """Returns what the progress bar shows beside the count."""
        window.check_finite(checkpoints)
        line = window.close(metrics)
        writer.write(step, line)
        if news := watch.look(line):
            log.warning("step %d: %s", step, news)
        lost.tell(batches.replaced)
        return f"G {line['loss/g']:.3f} D {line['loss/d']:.3f}"

    def measure() -> dict[str, float]:
        if validation is None or not due(spans.eval):
            return {}
        measured = validation.run(ema_variables(state))
        _check_best(config.best, measured)
        writer.write(step, measured)
        log.info("step %d: %s", step, _in_words(measured))
        return measured

    gone: DataStopped | None = None
    try:
        with StopRequest() as stop:
            try:
                if step < spans.total:
                    fed.start()
                with jax.transfer_guard("disallow"):
                    while step < spans.total and not stop.asked(step):
                        batch, local = next(fed)
                        state, metrics = program.step(state, batch, vgg)
                        step += 1
                        window.add(step, metrics, local)
                        note = write_line(metrics) if due(spans.log) else ""
                        with window.paused, jax.transfer_guard("allow"):
                            measured = measure()
                            if sheets is not None and due(spans.sheet):
                                sheets.draw(step, ema_variables(state))
                            # What was measured is saved too: the best checkpoint can only be one that is known to be.
                            if due(spans.checkpoint) or (measured and config.best) or step == spans.total:
                                save(measured)
                        progress.advance(note)
            except DataStopped as error:
                gone = error
                lost.tell(batches.replaced)
            if step and (gone is not None or step < spans.total):
                save({})
                log.info("stopped early and saved step %d; the same command goes on from there", step)
            checkpoints.wait()
    finally:
        progress.close()
        writer.close()
        batches.close()
        checkpoints.close()
    if gone := gone or (fed.failed if step < spans.total else None):
        raise gone
    if step == spans.total:
        log.info("finished at step %d; checkpoints are in %s", step, workdir / FOLDER)
        return Outcome.FINISHED
    return Outcome.STOPPED


def _check_best(best: str, measured: dict[str, float]) -> None:
    if best and best not in measured:
        raise UserError(f"--config.best={best} is not measured: choose one of {', '.join(sorted(measured))}.")


def _eval_size(config: ConfigDict, mesh: Mesh) -> int:
    return max(config.batch_size // mesh.size, 1) * mesh.size


def _in_words(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
