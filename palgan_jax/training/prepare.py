"""What a run needs before its first step: data, networks, checkpoints and the compiled step."""

import json
import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from clu import parameter_overview
from jax.sharding import Mesh
from ml_collections import ConfigDict

from palgan_jax.checkpoint.compatibility import check_fits
from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.config import FREE, durations, palette_spec
from palgan_jax.data.device import DeviceBatches, make_lab_stage
from palgan_jax.data.sampling import Averages
from palgan_jax.data.train_batches import train_batches
from palgan_jax.distributed.collectives import failing_together, number_of_first
from palgan_jax.distributed.mesh import check_batch_size, make_mesh, replicated
from palgan_jax.metrics.catalogue import find_metric
from palgan_jax.nn.build import build_generator
from palgan_jax.nn.pretrained_palette_generator import first_parameters
from palgan_jax.training.board import FOLDER as FOLDER_OF_BOARD
from palgan_jax.training.compile import Program, compile_program, make_program
from palgan_jax.training.data import LostPictures, open_data
from palgan_jax.training.finite import FiniteCheck
from palgan_jax.training.lease import Lease
from palgan_jax.training.memory import check_memory, fitting_batch
from palgan_jax.training.metrics_file import MetricsWriter
from palgan_jax.training.needs import Needs, check_room, load_needs
from palgan_jax.training.outlook import Outlook, compile_time
from palgan_jax.training.run import Run
from palgan_jax.training.sample_sheets import SampleSheets
from palgan_jax.training.start import FILE as START
from palgan_jax.training.state import TrainState, with_variables
from palgan_jax.training.timing import InputWatch, MetricsWindow
from palgan_jax.training.validation import make_validation, training_averages
from palgan_jax.training.workdir import Workdir
from palgan_jax.util.files import write_file
from palgan_jax.util.progress import Progress, Waiting

log = logging.getLogger(__name__)


def prepare_run(config: ConfigDict, workdir: Workdir, stack: ExitStack, fit: bool = False) -> Run | None:
    """Opens, compiles and restores what a run needs; `stack` closes it. Returns None where the run has finished.

    What may be refused comes before what takes long. Raises UserError as `train` does.
    """
    mesh = make_mesh(**config.mesh)
    check_batch_size(config.batch_size, config.accumulate, mesh)
    lease = None
    with failing_together():
        if jax.process_index() == 0:
            lease = stack.enter_context(Lease(workdir.bucket or workdir.folder))
            workdir.fetch()
    _log_devices(config, mesh)
    checkpoints = stack.enter_context(_open_checkpoints(config, workdir, fit))
    fresh = checkpoints.latest_step is None
    needs = load_needs(config, fresh=True) if fresh else None
    source = open_data(config, "train", workdir.folder)
    val_source = open_data(config, "val", workdir.folder) if config.data.val else None
    if fit and fresh:
        config.batch_size = number_of_first(fitting_batch(config, mesh, len(source)))
    spans = durations(config, len(source))
    if val_source is None:
        spans = replace(spans, eval=0, sheet=0)
    if is_finished(checkpoints, spans.total):
        log.info("%d steps are saved; there is nothing left to do: lengthen --config.total to go on", spans.total)
        return None

    needs = needs or load_needs(config, fresh=False)
    program = make_program(config, mesh, spans.phases)
    with failing_together():
        if jax.process_index() == 0 and workdir.bucket is None:
            check_room(program.abstract_state, Path(workdir.checkpoints), config.keep)
    constants: Any = training_averages(config, source) if needs.encoder is not None or spans.eval else None
    validation = sheets = None
    if val_source is not None and spans.eval:
        validation = make_validation(config, mesh, constants, val_source, needs.networks)
    if val_source is not None and spans.sheet:
        sheets = SampleSheets(config, build_generator(config, mesh), mesh, val_source, workdir.folder / "sheets")
    vgg = jax.device_put(needs.vgg, replicated(mesh))
    with Waiting(f"compiling the training step, {compile_time()}", shown=jax.process_index() == 0):
        program = compile_program(program, config, mesh, vgg, fresh=fresh)
    check_memory(config, mesh, program)
    if fresh:
        state, position, step = _first_state(config, program, needs, constants), 0, 0
    else:
        state, position, _ = checkpoints.restore(program.abstract_state)
        step = int(state.step)
        log.info("resumed at step %d of %d", step, spans.total)

    _write_records(config, workdir, needs)
    writer = stack.enter_context(MetricsWriter(workdir.folder, step, config.tensorboard))
    pictures = stack.enter_context(
        train_batches(
            source, resolution=config.resolution, batch_size=config.batch_size, seed=config.seed,
            workers=config.data.workers if config.data.workers >= 0 else "auto", min_scale=config.data.min_scale,
            max_replaced=config.data.max_unreadable, position=position, **_place(),
        )
    )  # fmt: skip
    window = stack.enter_context(MetricsWindow(config.batch_size, source.file_bytes, pictures.decoders))
    stage = make_lab_stage(palette_spec(config), config.ab_range, mesh)
    progress = stack.enter_context(Progress("training", spans.total, step, shown=jax.process_index() == 0))
    return Run(
        config, workdir, spans, step, position, step, state, program, vgg, pictures,
        DeviceBatches(pictures, stage, window.waiting), checkpoints, writer, window, progress, validation, sheets,
        LostPictures(workdir.folder / "data"), FiniteCheck((step, f"{workdir.checkpoints}/{step}") if step else None),
        InputWatch(), Outlook(step, spans.total, jax.default_backend()), lease,
    )  # fmt: skip


def _open_checkpoints(config: ConfigDict, workdir: Workdir, keep_batch: bool) -> Checkpoints:
    """Opens WORKDIR/checkpoints. Raises UserError where another config made them; `keep_batch` takes their batch."""
    lower_is_better = find_metric(config.best.removeprefix("val/")).direction == "lower"
    checkpoints = Checkpoints(
        workdir.checkpoints, keep=config.keep, best=config.best or None, best_mode="min" if lower_is_better else "max"
    )
    if checkpoints.latest_step is not None:
        saved_config = checkpoints.read_config()
        if keep_batch:
            config.batch_size = saved_config["batch_size"]
        check_fits(saved_config, config.to_dict(), free=FREE, where=str(workdir))
    return checkpoints


def is_finished(checkpoints: Checkpoints, total: int) -> bool:
    """Returns True where a checkpoint of the last step is there and not damaged."""
    latest = checkpoints.latest_step
    return latest is not None and latest >= total and checkpoints.latest_sound_step() >= total


def _first_state(config: ConfigDict, program: Program, needs: Needs, constants: Averages | None) -> TrainState:
    """Returns what a run begins with: new networks, with the weights that the config names in their places."""
    state = program.init(jax.random.key(config.seed))
    if needs.encoder is not None:
        assert constants is not None
        pretrained = first_parameters(needs.encoder, constants.mean_palette)
        state = with_variables(state, {"params": {"palette_generator": pretrained}}, {})
    if needs.start is not None:
        state = with_variables(state, needs.start.weights.variables, needs.start.discriminator)
        log.info("the run starts from %s", needs.start)
    _log_parameters(state)
    return state


def _write_records(config: ConfigDict, workdir: Workdir, needs: Needs) -> None:
    """Writes the config, and where the run started from, and says where its curves are to be seen."""
    if jax.process_index() == 0:
        write_file(workdir.folder / "config.json", json.dumps(config.to_dict(), indent=2).encode())
        if needs.start is not None:
            write_file(workdir.folder / START, needs.start.record())
    if config.tensorboard:
        log.info("curves and samples: tensorboard --logdir %s/%s", workdir, FOLDER_OF_BOARD)
    else:
        log.info("curves and samples: palgan runs show %s", workdir)


def _place() -> dict[str, Any]:
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}


def _log_devices(config: ConfigDict, mesh: Mesh) -> None:
    log.info("%d %s device(s), mesh %s", mesh.size, jax.default_backend(), dict(mesh.shape))
    if (count := jax.process_count()) > 1:
        rows = config.batch_size // count
        first = jax.process_index() * rows
        log.info("process %d has rows %d to %d of each batch", jax.process_index(), first, first + rows - 1)


def _log_parameters(state: TrainState) -> None:
    if jax.process_index() == 0:
        parts = {**state.generator["params"], "discriminator": state.discriminator["params"]}
        sizes = {name: parameter_overview.count_parameters(part) for name, part in parts.items()}
        log.info("parameters: %s", ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
