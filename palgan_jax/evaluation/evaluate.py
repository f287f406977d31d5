"""Measures a system on a protocol, from the first photograph to the written results; resumes where it was stopped."""

import logging
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from palgan_jax.data.protocols import Pictures
from palgan_jax.distributed.collectives import number_of_first
from palgan_jax.distributed.mesh import make_mesh
from palgan_jax.distributed.preemption import StopRequest
from palgan_jax.errors import UserError
from palgan_jax.evaluation import resume
from palgan_jax.evaluation.conclude import conclude
from palgan_jax.evaluation.examples import local_programs, paint_example
from palgan_jax.evaluation.measure import Programs
from palgan_jax.evaluation.names import select_reference
from palgan_jax.evaluation.photographs import Photographs
from palgan_jax.evaluation.plan import Plan, make_plan
from palgan_jax.evaluation.protocols import Protocol
from palgan_jax.evaluation.record import Evaluation
from palgan_jax.evaluation.results import RESULTS, read_results, write_results
from palgan_jax.evaluation.resume import Partial
from palgan_jax.evaluation.systems import System
from palgan_jax.metrics.catalogue import DEFAULT, FEATURE_NAMES
from palgan_jax.metrics.frechet import Moments, empty, update
from palgan_jax.pretrained.inception import FEATURE_SIZE
from palgan_jax.util.progress import Progress

log = logging.getLogger(__name__)

SECONDS_BETWEEN_SAVES = 30.0
_MOST_IN_A_ROW = 100  # unreadable photographs; then the truth must have been moved or unmounted


@dataclass(frozen=True)
class Outcome:
    """How an evaluation ended.

    Attributes:
      evaluation: the results; None when it was stopped, and in all processes but the first.
      stopped: True when SIGTERM or Ctrl-C stopped it; what was measured by then is saved.
    """

    evaluation: Evaluation | None
    stopped: bool = False


def evaluate(
    system: System,
    truth: Pictures,
    protocol: Protocol,
    output: Path,
    *,
    metrics: Collection[str] = DEFAULT,
    batch_size: int | None = None,
    seed: int = 0,
    facts: dict[str, Any] | None = None,
    mesh: Mesh | None = None,
) -> Outcome:
    """Measures a system and writes the results to a folder; an interrupted evaluation goes on where it was.

    All processes call it alike, and see the same photographs and the same `output`, which the first one writes.

    Args:
      truth: the photographs, from `truth.open_truth`; those on the protocol's list are measured.
      output: for the results; until they are finished, what was measured is saved in its folder partial.
      metrics: some of `catalogue.EVALUATION`; what is left out is named in the results, with the reason.
      batch_size: of the global batch; None for a few pictures a device. It has no influence on what is measured.
      seed: which other photograph each one gets the palette of, where it gets one.
      facts: what else to write down.
      mesh: all devices by default.

    Raises UserError where something is missing or does not fit, and where `output` belongs to another evaluation.
    """
    plan = make_plan(system, truth, protocol, metrics, batch_size, seed, mesh or make_mesh())
    state = _begin(plan, output)
    count = number_of_first(-1 if isinstance(state, Evaluation) else state.done)
    if isinstance(state, Evaluation):
        log.info("%s holds the results of %s already", output, plan.title)
        return Outcome(state)
    partial = state
    if count != partial.done:
        raise UserError(f"{output} is not the same folder for all processes: name one that all of them see.")
    if count:
        log.info("going on after %s of %s pictures", f"{count:,}", f"{len(plan.photographs):,}")
    own_truth = protocol.reference is None
    programs = Programs(plan.mesh, system, plan.networks, plan.metrics, truth_features=own_truth)
    with StopRequest("batch", lambda: "the last save") as stop:
        if plan.has_reference and "reference" not in partial.moments:
            partial.moments["reference"] = _measure_reference(plan, programs)
            _save(plan, partial, output)
        _measure_all(plan, partial, programs, stop, output)
        if partial.done < len(plan.photographs):
            log.info("stopped; the same command goes on after %s pictures", f"{partial.done:,}")
            return Outcome(None, stopped=True)
    if not partial.rows["mask"].any():
        raise UserError(f"none of the {partial.done} pictures of {truth.place} can be read: name another truth.")
    return Outcome(_finish(plan, partial, programs, facts or {}, output) if jax.process_index() == 0 else None)


def _begin(plan: Plan, output: Path) -> Partial | Evaluation:
    """Reads what the output folder holds of this evaluation. Raises UserError where it holds another one."""
    if not (output / RESULTS).exists():
        return resume.load(output, plan.fingerprint)
    finished = read_results(output)
    if finished.facts.get("fingerprint") == plan.fingerprint:
        return finished
    raise UserError(
        f"{output} holds the results of {finished.system} on {finished.protocol}, measured otherwise or on other "
        "pictures: name another folder for these."
    )


def _measure_all(plan: Plan, partial: Partial, programs: Programs, stop: StopRequest, output: Path) -> None:
    """Adds the photographs that are not measured yet to `partial`; saves it now and then, and when asked to stop."""
    total, size = len(plan.photographs), plan.batch_size
    last_save, unreadable = time.monotonic(), 0
    with _progress("evaluating", total, size, partial.done) as progress:
        batches = plan.photographs.batches(partial.done, size, _share())
        computations = ({**programs.measure(batch), "name": names} for batch, names in batches)
        for step, values in enumerate(_one_behind(computations)):
            rows = {name: value[: total - partial.done] for name, value in values.items()}
            unreadable = unreadable + len(rows["mask"]) if not rows["mask"].any() else 0
            if unreadable >= _MOST_IN_A_ROW:
                raise UserError(
                    f"{unreadable} pictures of {plan.truth.place} in a row cannot be read: see whether they are there, "
                    "and run the same command again."
                )
            _add(partial, rows)
            progress.advance()
            stopped = stop.is_requested(step)
            if stopped:
                stop.begin_last_save()
            # At the end, too: results take long for FID and for the pictures of the report.
            is_due = partial.done == total or time.monotonic() - last_save >= SECONDS_BETWEEN_SAVES
            if stopped or (not unreadable and is_due):
                _save(plan, partial, output)
                last_save = time.monotonic()
            if stopped:
                return


def _add(partial: Partial, rows: dict[str, np.ndarray]) -> None:
    for name in FEATURE_NAMES:
        features = rows.pop(name, None)
        # Every process has all values, and only the first needs the sums.
        if features is not None and jax.process_index() == 0:
            partial.moments[name] = update(partial.moments.get(name, empty(FEATURE_SIZE)), features[rows["mask"]])
    partial.append(rows)


def _measure_reference(plan: Plan, programs: Programs) -> Moments:
    """Measures the features of the photographs that the protocol's FID is taken against."""
    photographs = Photographs(plan.truth, select_reference(plan.truth, plan.protocol), plan.protocol)
    moments, remaining, size = empty(FEATURE_SIZE), len(photographs), plan.batch_size
    with _progress("reference", remaining, size) as progress:
        for batch, _ in photographs.batches(0, size, _share()):
            features, mask = jax.device_get(programs.features(batch))
            if not mask[:remaining].all():
                raise UserError(
                    f"a picture that FID of {plan.protocol.name} is taken against cannot be read: mend the truth, or "
                    "leave fid out of --metrics."
                )
            moments = update(moments, features[:remaining])
            remaining -= size
            progress.advance()
    return moments


def _finish(plan: Plan, partial: Partial, programs: Programs, facts: dict[str, Any], output: Path) -> Evaluation:
    """Writes the results, with the pictures of the report, then removes what was saved on the way."""
    evaluation = conclude(plan, partial, facts)
    numbers = np.flatnonzero(partial.rows["mask"]).tolist()  # of the photographs that the evaluation names
    # The report paints one picture at a time, which is work for one device.
    painting = programs if plan.mesh.size == 1 else local_programs(plan.system)
    write_results(output, evaluation, lambda i: paint_example(plan.photographs, numbers[i], painting))
    resume.remove(output)
    return evaluation


def _save(plan: Plan, partial: Partial, output: Path) -> None:
    if jax.process_index() == 0:
        resume.save(output, partial, plan.fingerprint, plan.title)


def _progress(name: str, total: int, size: int, first: int = 0) -> Progress:
    return Progress(name, -(-total // size), first // size, unit="batch", shown=jax.process_index() == 0)


def _share() -> tuple[int, int]:
    return jax.process_index(), jax.process_count()


def _one_behind(computations: Iterable[dict[str, Any]]) -> Iterator[dict[str, np.ndarray]]:
    """Yields the values on the host, each fetched when the devices have the next batch to work on already."""
    previous = None
    for values in computations:
        if previous is not None:
            yield jax.device_get(previous)
        previous = values
    if previous is not None:
        yield jax.device_get(previous)
