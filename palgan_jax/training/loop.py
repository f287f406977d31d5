"""The training loop: data, step, metrics, validation, sample sheets and checkpoints, resumable at any step."""

import enum
import json
import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
from clu import parameter_overview
from jax.sharding import Mesh
from ml_collections import ConfigDict

from palgan_jax.checkpoint.compatibility import check_fits
from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.config import FREE, Durations, check_config, durations, palette_spec
from palgan_jax.data.device import DeviceBatches, make_lab_stage
from palgan_jax.data.eval_batches import eval_batches
from palgan_jax.data.protocols import Source
from palgan_jax.data.sampling import SIDE, Averages, averages
from palgan_jax.data.train_batches import TrainBatches, train_batches
from palgan_jax.distributed.collectives import failing_together, number_of_first
from palgan_jax.distributed.mesh import check_batch_size, make_mesh, replicated
from palgan_jax.distributed.preemption import StopRequest
from palgan_jax.errors import DataStopped, ExitCode, one_line
from palgan_jax.metrics.catalogue import find_metric
from palgan_jax.metrics.measure import Networks
from palgan_jax.nn.build import build_generator
from palgan_jax.nn.pretrained_palette_generator import first_parameters
from palgan_jax.training.board import FOLDER as FOLDER_OF_BOARD
from palgan_jax.training.compile import Program, compile_program, make_program
from palgan_jax.training.data import LostPictures, open_data
from palgan_jax.training.finite import FiniteCheck
from palgan_jax.training.lease import Lease
from palgan_jax.training.memory import check_memory, fitting_batch, out_of_memory
from palgan_jax.training.metrics_file import MetricsWriter
from palgan_jax.training.needs import check_room, load_needs
from palgan_jax.training.outlook import Outlook, compile_time
from palgan_jax.training.sample_sheets import SampleSheets
from palgan_jax.training.start import FILE as START
from palgan_jax.training.state import TrainState, ema_variables, with_variables
from palgan_jax.training.timing import InputWatch, MetricsWindow
from palgan_jax.training.validation import Validation
from palgan_jax.training.validation_table import validation_table
from palgan_jax.training.workdir import Workdir, opened
from palgan_jax.util.files import write_file
from palgan_jax.util.memory import lacks_memory
from palgan_jax.util.progress import Progress, Waiting

log = logging.getLogger(__name__)


class Outcome(enum.Enum):
    """How a call of `train` ended."""

    FINISHED = "finished"
    STOPPED = "stopped"  # early and saved, by SIGTERM or Ctrl-C: the same call goes on from there


@dataclass
class Run:
    """A run between two steps: the state, the parts that the loop uses, and how often it uses each."""

    config: ConfigDict
    workdir: Workdir
    durations: Durations
    step: int
    position: int  # samples that the pipeline had handed out by then, over all processes
    saved: int  # the latest step that is saved
    state: TrainState
    program: Program
    vgg: Any  # parameters of the perceptual network, or None
    pictures: TrainBatches
    batches: DeviceBatches  # of `pictures`, on the devices
    checkpoints: Checkpoints
    writer: MetricsWriter
    window: MetricsWindow
    progress: Progress
    validation: Validation | None
    sheets: SampleSheets | None
    lost: LostPictures
    finite: FiniteCheck
    input_watch: InputWatch
    outlook: Outlook
    lease: Lease | None  # process 0 alone

    def check_lease(self) -> None:
        """Raises UserError where another run has taken the working directory."""
        if self.lease is not None:
            self.lease.check()

    def every(self, steps: int) -> bool:
        """Returns True at multiples of `steps` and at the last step, and never where `steps` is 0."""
        return steps > 0 and (self.step % steps == 0 or self.step == self.durations.total)


def train(config: ConfigDict, workdir: str | Path | Workdir, *, fit: bool = False) -> Outcome:
    """Trains until the config's total, or until told to stop; the same call goes on where a run ended.

    `fit` takes the largest batch that the devices have memory for in the place of `config.batch_size`; a run that is
    resumed keeps its batch.

    Writes WORKDIR/{config.json,start.json,metrics.jsonl,checkpoints,sheets,data}.

    Raises UserError for a config that does not fit the machine, the data or WORKDIR's checkpoints, and where a loss or
    a gradient is no longer finite; DataStopped, after saving, where the pictures are gone.
    """
    check_config(config)
    config = config.copy_and_resolve_references()
    with ExitStack() as stack:
        try:
            if not isinstance(workdir, Workdir):
                workdir = stack.enter_context(opened(workdir, first=jax.process_index() == 0))
            run = prepare_run(config, workdir, stack, fit)
        except Exception as error:
            if lacks_memory(error):
                raise out_of_memory(error, config) from error
            raise
        if run is None:
            return Outcome.FINISHED
        with StopRequest("step", lambda: f"step {run.saved:,}", run.checkpoints.wait) as stop:
            failure = None
            try:
                loop(run, stop)
            except Exception as error:  # nothing is to lose the steps that are done
                failure = out_of_memory(error, config, run.program) if lacks_memory(error) else error
            return finish(run, stop, failure)


# ------------------------------------------------------------------------------------------------------------- prepare


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
    constants: Any = _averages(config, source) if needs.encoder is not None or spans.eval else None
    validation = sheets = None
    if val_source is not None and spans.eval:
        validation = _make_validation(config, mesh, constants, val_source, needs.networks)
    if val_source is not None and spans.sheet:
        sheets = SampleSheets(config, build_generator(config, mesh), mesh, val_source, workdir.folder / "sheets")
    vgg = jax.device_put(needs.vgg, replicated(mesh))
    with Waiting(f"compiling the training step, {compile_time()}", shown=jax.process_index() == 0):
        program = compile_program(program, config, mesh, vgg, fresh=fresh)
    check_memory(config, mesh, program)
    if fresh:
        state, position, step = program.init(jax.random.key(config.seed)), 0, 0
        if needs.encoder is not None:
            pretrained = first_parameters(needs.encoder, constants.mean_palette)
            state = with_variables(state, {"params": {"palette_generator": pretrained}}, {})
        if needs.start is not None:
            state = with_variables(state, needs.start.weights.variables, needs.start.discriminator)
            log.info("the run starts from %s", needs.start)
        _log_parameters(state)
    else:
        state, position, _ = checkpoints.restore(program.abstract_state)
        step = int(state.step)
        log.info("resumed at step %d of %d", step, spans.total)

    if jax.process_index() == 0:
        write_file(workdir.folder / "config.json", json.dumps(config.to_dict(), indent=2).encode())
        if needs.start is not None:
            write_file(workdir.folder / START, needs.start.record())
    writer = stack.enter_context(MetricsWriter(workdir.folder, step, config.tensorboard))
    if config.tensorboard:
        log.info("curves and samples: tensorboard --logdir %s/%s", workdir, FOLDER_OF_BOARD)
    else:
        log.info("curves and samples: palgan runs show %s", workdir)
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
    less = find_metric(config.best.removeprefix("val/")).direction == "lower"
    checkpoints = Checkpoints(
        workdir.checkpoints, keep=config.keep, best=config.best or None, best_mode="min" if less else "max"
    )
    if checkpoints.latest_step is not None:
        saved = checkpoints.read_config()
        if keep_batch:
            config.batch_size = saved["batch_size"]
        check_fits(saved, config.to_dict(), free=FREE, where=str(workdir))
    return checkpoints


def is_finished(checkpoints: Checkpoints, total: int) -> bool:
    """Returns True where a checkpoint of the last step is there and not damaged."""
    latest = checkpoints.latest_step
    return latest is not None and latest >= total and checkpoints.latest_sound_step() >= total


def _averages(config: ConfigDict, source: Source) -> Averages:
    """Returns what validation's baselines paint with, and what a pretrained encoder's palettes begin as."""
    read = partial(source.read, at_least=max(SIDE, config.resolution))
    return averages(
        read, range(len(source)), source.name, resolution=config.resolution, spec=palette_spec(config),
        ab_range=config.ab_range,
    )  # fmt: skip


def _make_validation(
    config: ConfigDict, mesh: Mesh, constants: Averages, val_source: Source, networks: Networks
) -> Validation:
    size = max(config.batch_size // mesh.size, 1) * mesh.size
    batches = eval_batches(val_source, resolution=config.resolution, batch_size=size, **_place())
    return Validation(config, build_generator(config, mesh), mesh, constants, batches, networks)


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


# ---------------------------------------------------------------------------------------------------------------- loop


def loop(run: Run, stop: StopRequest) -> None:
    """Trains until the last step, or until it is asked to stop, which leaves the step unsaved.

    Raises DataStopped where the pictures are gone, and UserError where a step is not finite.
    """
    spans = run.durations
    run.batches.start()
    with jax.transfer_guard("disallow"):
        while run.step < spans.total and not stop.asked(run.step):
            batch, local = next(run.batches)
            run.state, metrics = run.program.step(run.state, batch, run.vgg)
            run.step, run.position = run.step + 1, run.batches.position
            run.finite.add(run.step, metrics)
            run.window.add(metrics, local)
            # Metrics come first: they end the run where a step was not finite, before that state is measured or drawn,
            # and their times leave out what is paused below.
            note = write_metrics(run, metrics) if run.every(spans.log) else ""
            with run.window.paused, jax.transfer_guard("allow"):
                measured = validate(run) if run.every(spans.eval) else {}
                if run.sheets is not None and run.every(spans.sheet):
                    run.writer.draw(run.step, run.sheets.draw(run.step, ema_variables(run.state)))
                # Saving comes last: a checkpoint holds what was measured of it, and each that is measured is saved, so
                # that the best one is among them. A run that is killed before this repeats the step and its lines.
                if run.every(spans.checkpoint) or (measured and run.config.best) or run.step == spans.total:
                    save(run, measured)
            done = run.step - run.window.unfinished
            run.progress.reach(done, note)
            if sentence := run.outlook.after(done):
                log.info("%s", sentence)


def write_metrics(run: Run, metrics: dict[str, jax.Array]) -> str:
    """Writes a line of metrics and logs what is wrong with the input; returns the losses, for the progress bar."""
    run.check_lease()
    run.finite.check()
    line = run.window.close(metrics)
    run.writer.write(run.step, line)
    if warning := run.input_watch.warning(line):
        log.warning("step %d: %s", run.step, warning)
    run.lost.report(run.pictures.replaced)
    return f"G {line['loss/g']:.3f} D {line['loss/d']:.3f}"


def validate(run: Run) -> dict[str, float]:
    """Measures the averaged weights and writes a line of the results, which it returns."""
    assert run.validation is not None
    measured = run.validation.run(ema_variables(run.state))
    run.writer.write(run.step, measured)
    log.info("validation:\n%s", validation_table(run.step, measured, run.checkpoints.best))
    return measured


def save(run: Run, measured: dict[str, float]) -> None:
    """Starts to save the state. Raises UserError, and saves nothing, where a step until now was not finite."""
    run.check_lease()
    run.finite.check()
    # Before the checkpoint: a run that goes on from it needs the lines until then.
    run.writer.sync()
    run.workdir.copy()
    run.checkpoints.save(run.step, run.state, data_position=run.position, config=run.config.to_dict(), metrics=measured)
    run.saved = run.step


# -------------------------------------------------------------------------------------------------------------- finish


def finish(run: Run, stop: StopRequest, failure: Exception | None) -> Outcome:
    """Saves a run that ended early, and waits until all is on disk. Raises `failure`, or that of the batches, then.

    Raises KeyboardInterrupt where the unsaved steps were given up.
    """
    stop.begin_last_save()
    finished = run.step == run.durations.total
    # One of several processes that has no pictures any more stops with the others and keeps its reason until here.
    failure = failure or (None if finished else run.batches.failed)
    if failure is not None:
        save_after(run, failure)
        raise failure
    if not finished and run.step > run.saved:
        save(run, {})
    run.checkpoints.wait()
    run.progress.reach(run.step)
    if not finished:
        if run.saved:
            log.info("stopped early and saved step %d; the same command goes on from there", run.saved)
        return Outcome.STOPPED
    log.info("finished at step %d; checkpoints are in %s", run.step, run.workdir.checkpoints)
    return Outcome.FINISHED


def save_after(run: Run, failure: Exception) -> None:
    """Saves the steps that are done and sound after a failure, and says which are.

    Where the pictures are gone and the steps are saved, `failure` gets the exit code of a run that can go on.
    """
    gone = isinstance(failure, DataStopped)
    if gone:
        run.lost.report(run.pictures.replaced)
    # Processes save together: another one may not have failed, and would not come.
    if run.step > run.saved and (gone or jax.process_count() == 1):
        try:
            save(run, {})
            run.checkpoints.wait()
        except Exception as error:
            if str(error) != str(failure):
                log.warning("step %d cannot be saved (%s)", run.step, one_line(error))
            return
        log.info("stopped early and saved step %d; the same command goes on from there", run.step)
    if isinstance(failure, DataStopped) and run.saved:
        failure.exit_code = ExitCode.STOPPED
