"""The training loop: step, metrics, validation, sample sheets and checkpoints, resumable at any step."""

import enum
import logging
from contextlib import ExitStack
from pathlib import Path

import jax
from ml_collections import ConfigDict

from palgan_jax.config import check_config
from palgan_jax.distributed.preemption import StopRequest
from palgan_jax.errors import DataStopped, ExitCode, one_line
from palgan_jax.training.memory import out_of_memory
from palgan_jax.training.prepare import prepare_run
from palgan_jax.training.run import Run
from palgan_jax.training.state import ema_variables
from palgan_jax.training.validation_table import validation_table
from palgan_jax.training.workdir import Workdir, opened
from palgan_jax.util.memory import lacks_memory

log = logging.getLogger(__name__)


class Outcome(enum.Enum):
    """How a call of `train` ended."""

    FINISHED = "finished"
    STOPPED = "stopped"  # early and saved, by SIGTERM or Ctrl-C: the same call goes on from there


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


# ---------------------------------------------------------------------------------------------------------------- loop


def loop(run: Run, stop: StopRequest) -> None:
    """Trains until the last step, or until it is asked to stop, which leaves the step unsaved.

    Raises DataStopped where the pictures are gone, and UserError where a step is not finite.
    """
    spans = run.durations
    run.batches.start()
    with jax.transfer_guard("disallow"):
        while run.step < spans.total and not stop.is_requested(run.step):
            batch, local = next(run.batches)
            run.state, metrics = run.program.step(run.state, batch, run.vgg)
            run.step, run.position = run.step + 1, run.batches.position
            run.finite.add(run.step, metrics)
            run.window.add(metrics, local)
            # Metrics come first: they end the run where a step was not finite, before that state is measured or drawn,
            # and their times leave out what is paused below.
            note = write_metrics(run, metrics) if run.every(spans.log) else ""
            with run.window.paused, jax.transfer_guard("allow"):
                scores = validate(run) if run.every(spans.eval) else {}
                if run.sheets is not None and run.every(spans.sheet):
                    run.writer.draw(run.step, run.sheets.draw(run.step, ema_variables(run.state)))
                # Saving comes last: a checkpoint holds what was measured of it, and each that is measured is saved, so
                # that the best one is among them. A run that is killed before this repeats the step and its lines.
                if run.every(spans.checkpoint) or (scores and run.config.best) or run.step == spans.total:
                    save(run, scores)
            steps_done = run.step - run.window.unfinished
            run.progress.reach(steps_done, note)
            if sentence := run.outlook.after(steps_done):
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
    scores = run.validation.run(ema_variables(run.state))
    run.writer.write(run.step, scores)
    log.info("validation:\n%s", validation_table(run.step, scores, run.checkpoints.best))
    return scores


def save(run: Run, scores: dict[str, float]) -> None:
    """Starts to save the state. Raises UserError, and saves nothing, where a step until now was not finite."""
    run.check_lease()
    run.finite.check()
    # Before the checkpoint: a run that goes on from it needs the lines until then.
    run.writer.sync()
    run.workdir.copy()
    run.checkpoints.save(run.step, run.state, data_position=run.position, config=run.config.to_dict(), metrics=scores)
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
    is_data_gone = isinstance(failure, DataStopped)
    if is_data_gone:
        run.lost.report(run.pictures.replaced)
    # Processes save together: another one may not have failed, and would not come.
    if run.step > run.saved and (is_data_gone or jax.process_count() == 1):
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
