"""Measuring a system on a protocol from the first photograph to the written results; resumes where it was stopped."""

import logging
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from palgan_jax import __version__
from palgan_jax.colorize.join import join, luminance
from palgan_jax.data.protocols import Pictures
from palgan_jax.distributed.collectives import number_of_first
from palgan_jax.distributed.mesh import make_mesh
from palgan_jax.distributed.preemption import StopRequest
from palgan_jax.errors import UserError
from palgan_jax.evaluation import resume as partials
from palgan_jax.evaluation.measure import Programs
from palgan_jax.evaluation.photographs import Batch, Photographs
from palgan_jax.evaluation.protocols import Difference, Protocol, difference, list_sha256, select, select_reference
from palgan_jax.evaluation.record import Evaluation, Shown
from palgan_jax.evaluation.results import RESULTS, read_results, write_results
from palgan_jax.evaluation.resume import Partial
from palgan_jax.evaluation.systems import Checkpoint, Predictions, System
from palgan_jax.evaluation.truth import RESIZES
from palgan_jax.metrics.catalogue import DEFAULT, EVALUATION, FEATURE_NAMES, METRICS, with_companions
from palgan_jax.metrics.frechet import Moments, empty, update
from palgan_jax.metrics.measure import Networks, load_networks
from palgan_jax.pretrained.inception import FEATURE_SIZE
from palgan_jax.util.progress import Progress

log = logging.getLogger(__name__)

SECONDS_BETWEEN_SAVES = 30.0
FEWEST_FOR_FID = 2048
"""With fewer pictures than features the covariance is singular, and the number says next to nothing."""
_MOST_IN_A_ROW = 100  # unreadable photographs; then the truth is taken for gone
_CALIBRATED = 0.05  # how far the truth's mean colorfulness may be off what is published
_ON_CPU, _ON_ACCELERATOR = 8, 16  # photographs a device and batch


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
    """Measures a system and writes what it finds to a folder; an interrupted evaluation goes on where it was.

    All processes call it alike, and see the same photographs and the same `output`, which the first one writes.

    Args:
      truth: the photographs, from `truth.open_truth`; those on the protocol's list are measured.
      output: holds the finished results, or what is known of them in a folder of its own, partial.
      metrics: some of `catalogue.EVALUATION`; what is left out is named in the results, with the reason.
      batch_size: of the global batch; None for a few pictures a device. It has no influence on what is measured.
      seed: which other photograph each one gets the palette of, where it gets one.
      facts: what else to write down.
      mesh: all devices by default.

    Raises UserError where something is missing or does not fit, and where `output` belongs to another evaluation.
    """
    job = _Job(system, truth, protocol, output, metrics, batch_size, seed, facts or {}, mesh or make_mesh())
    return job.run()


class _Job:
    def __init__(
        self,
        system: System,
        truth: Pictures,
        protocol: Protocol,
        output: Path,
        metrics: Collection[str],
        batch_size: int | None,
        seed: int,
        facts: dict[str, Any],
        mesh: Mesh,
    ):
        self._system, self._truth, self._protocol, self._output = system, truth, protocol, output
        self._seed, self._facts, self._mesh = seed, facts, mesh
        self._names = [truth.picture_name(i) for i in range(len(truth))]
        rows = select(protocol, self._names)
        if not rows:
            raise UserError(
                f"{truth.place} holds none of the pictures of {protocol.name} ({protocol.what}): name the folder that "
                "they are in, or measure with --protocol folder."
            )
        self._size = _batch_size(batch_size, mesh, len(rows))
        self._networks = load_networks(metrics)
        self._absent = self._networks.absent | _absent(system, metrics)
        self._absent |= {name: "it was not asked for" for name in EVALUATION if name not in metrics}
        self._metrics = tuple(name for name in EVALUATION if name in metrics and name not in self._absent)
        self._photographs = Photographs(truth, self._names, rows, protocol, system, self._metrics, seed)
        names = self._photographs.names
        if isinstance(system, Predictions):
            system.match(names)
        self._say_what_is_there(names)

    # -------------------------------------------------------------------------------------------------------- the list

    def _say_what_is_there(self, names: list[str]) -> None:
        if (others := len(self._names) - len(names)) > 0:
            are = "picture is" if others == 1 else "pictures are"
            log.info("%s other %s not on the list of %s and not looked at", f"{others:,}", are, self._protocol.name)
        for name, reason in self._truth.problems:
            log.warning("left out: %s, %s", name, reason)
        if differs := difference(self._protocol, names):
            log.warning("these are not the pictures of %s, whose name is refused: %s", self._protocol.name, differs)

    # ------------------------------------------------------------------------------------------------------ what it is

    @cached_property
    def _mark(self) -> str:
        """The fingerprint of all that the numbers rest on. Devices and the size of batches are no part of it."""
        return partials.fingerprint(
            {
                "system": [type(self._system).__name__, self._system.label, self._system.palette, self._system.weights],
                "protocol": [self._protocol.name, self._protocol.resize, self._protocol.side],
                "names": self._photographs.names,
                "truth": self._truth.digest(),
                "metrics": self._metrics,
                "networks": self._networks.sha256,
                "seed": self._seed,
                "version": __version__,
            }
        )

    @property
    def _title(self) -> str:
        return f"{self._system.label} on {self._protocol.name}"

    def _begin(self) -> Partial | Evaluation:
        """What the output folder holds of this evaluation. Raises UserError where it holds another one."""
        if (self._output / RESULTS).exists():
            finished = read_results(self._output)
            if finished.facts.get("fingerprint") == self._mark:
                return finished
            raise UserError(
                f"{self._output} holds the results of {finished.system} on {finished.protocol}, measured otherwise or "
                "on other pictures: name another folder for these."
            )
        return partials.load(self._output, self._mark)

    # --------------------------------------------------------------------------------------------------------- running

    def run(self) -> Outcome:
        found = self._begin()
        done = number_of_first(-1 if isinstance(found, Evaluation) else found.done)
        if isinstance(found, Evaluation):
            log.info("%s holds the results of %s already", self._output, self._title)
            return Outcome(found)
        if done != found.done:
            raise UserError(f"{self._output} is not the same folder for all processes: name one that all of them see.")
        if done:
            log.info("going on after %s of %s pictures", f"{done:,}", f"{len(self._photographs):,}")
        own = self._protocol.reference is None
        programs = Programs(self._mesh, self._system, self._networks, self._metrics, truth_features=own)
        with StopRequest() as stop:
            if "fid" in self._metrics and not own and "reference" not in found.moments:
                self._measure_reference(found, programs)
            self._measure_all(found, programs, stop)
            if found.done < len(self._photographs):
                log.info("stopped; the same command goes on after %s pictures", f"{found.done:,}")
                return Outcome(None, stopped=True)
        return Outcome(self._finish(found, programs))

    def _measure_all(self, found: Partial, programs: Programs, stop: StopRequest) -> None:
        total, share = len(self._photographs), (jax.process_index(), jax.process_count())
        steps, done, shown = -(-total // self._size), found.done // self._size, jax.process_index() == 0
        saved, unreadable = time.monotonic(), 0
        with Progress("evaluating", steps, done, unit="batch", shown=shown) as progress:
            batches = self._photographs.batches(found.done, self._size, share)
            for step, values in enumerate(_one_behind(programs.measure(batch) for batch in batches)):
                real = {name: value[: total - found.done] for name, value in values.items()}
                unreadable = unreadable + len(real["mask"]) if not real["mask"].any() else 0
                if unreadable >= _MOST_IN_A_ROW:
                    raise UserError(
                        f"{unreadable} pictures of {self._truth.place} in a row cannot be read: see whether they are "
                        "there, and run the same command again."
                    )
                self._add(found, real)
                progress.advance()
                stopped = stop.asked(step)
                if stopped or (not unreadable and time.monotonic() - saved >= SECONDS_BETWEEN_SAVES):
                    self._save(found)
                    saved = time.monotonic()
                if stopped:
                    return

    def _add(self, found: Partial, values: dict[str, np.ndarray]) -> None:
        mask = values["mask"]
        for name in FEATURE_NAMES:
            features = values.pop(name, None)
            # Every process has all values, and only the first needs the sums.
            if features is not None and jax.process_index() == 0:
                found.moments[name] = update(found.moments.get(name, empty(FEATURE_SIZE)), features[mask])
        found.append(values)

    def _measure_reference(self, found: Partial, programs: Programs) -> None:
        """The features of the photographs that the protocol's FID is taken against."""
        rows = select_reference(self._protocol, self._names)
        photographs = Photographs(self._truth, self._names, rows, self._protocol)
        moments, left = empty(FEATURE_SIZE), len(rows)
        steps, shown = -(-len(rows) // self._size), jax.process_index() == 0
        with Progress("reference", steps, unit="batch", shown=shown) as progress:
            for batch in photographs.batches(0, self._size, (jax.process_index(), jax.process_count())):
                features, mask = jax.device_get(programs.features(batch))
                if not mask[:left].all():
                    raise UserError(
                        f"a picture that FID of {self._protocol.name} is taken against cannot be read: mend the truth, "
                        "or leave fid out of --metrics."
                    )
                moments = update(moments, features[:left])
                left -= self._size
                progress.advance()
        found.moments["reference"] = moments
        self._save(found)

    def _save(self, found: Partial) -> None:
        if jax.process_index() == 0:
            partials.save(self._output, found, self._mark, self._title)

    # ------------------------------------------------------------------------------------------------------ the results

    def _finish(self, found: Partial, programs: Programs) -> Evaluation | None:
        mask = found.rows["mask"]
        kept = np.flatnonzero(mask)
        if not len(kept):
            raise UserError(f"none of the {len(mask)} pictures of {self._truth.place} can be read: name another truth.")
        if jax.process_index() > 0:
            return None
        names = [self._photographs.names[i] for i in kept]
        lost = [self._photographs.names[i] for i in np.flatnonzero(~mask)]
        lost += [name for name, _ in self._truth.problems if self._protocol.names is None]
        differs = difference(self._protocol, names)
        values = {name: rows[kept].astype(np.float64) for name, rows in found.rows.items() if name != "mask"}
        whole, absent = self._of_the_set(values, found.moments)
        evaluation = Evaluation(
            system=self._system.label,
            protocol=self._protocol.name,
            protocol_exact=not differs and not lost,
            list_sha256=list_sha256(names),
            count=len(names),
            resize=RESIZES[self._protocol.resize].words.format(side=self._protocol.side),
            palette=self._system.palette,
            names=names,
            values=values,
            whole=whole,
            absent=self._absent | absent,
            weights=self._system.weights | self._networks.sha256,
            facts=self._facts | self._own_facts(values, differs, lost),
        )
        write_results(self._output, evaluation, lambda i: self._shown(int(kept[i]), programs))
        partials.remove(self._output)
        return evaluation

    def _of_the_set(
        self, values: dict[str, np.ndarray], moments: dict[str, Moments]
    ) -> tuple[dict[str, float], dict[str, str]]:
        """The numbers of the whole set, and why others cannot be had of it."""
        names, absent = with_companions(self._metrics), {}
        known: dict[str, Any] = values | moments
        if self._protocol.reference is not None and "fid" in names:
            known[FEATURE_NAMES[1]] = moments["reference"]
        if "fid" in names and min(known[name].count for name in FEATURE_NAMES) < 2:
            names, absent = [name for name in names if name != "fid"], {"fid": "it needs at least two pictures"}
        rows = [METRICS[name] for name in names if METRICS[name].of_set]
        whole = {row.name: row.compute(*(known[key] for key in row.inputs)) for row in rows if row.compute is not None}
        if "fid" in whole:
            whole[self._networks.fid] = whole.pop("fid")
            if known[FEATURE_NAMES[0]].count < FEWEST_FOR_FID:
                log.warning("%s", _few(known[FEATURE_NAMES[0]].count))
        return whole, absent

    def _own_facts(self, values: dict[str, np.ndarray], differs: Difference, lost: list[str]) -> dict[str, Any]:
        devices = f"{self._mesh.size} {jax.default_backend()}"
        facts: dict[str, Any] = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "version": __version__,
            "jax": jax.__version__,
            "devices": f"{devices} ({jax.devices()[0].device_kind})",
            "processes": jax.process_count(),
            "seed": self._seed,
            "fingerprint": self._mark,
        }
        if "fid" in self._metrics:
            reference = "the truth's own pictures"
            if self._protocol.reference is not None:
                reference = f"{len(self._protocol.reference()):,} other pictures"
            inception = "pytorch-fid's Inception" if self._networks.fid == "fid" else "another Inception"
            facts["fid"] = f"{inception}, against {reference}"
            if (count := len(self._photographs) - len(lost)) < FEWEST_FOR_FID:
                facts["fid"] += f"; {_few(count)}"
        if differs:
            facts["difference from the list"] = str(differs)
        if lost:
            facts["unreadable"] = lost
        return facts if differs or lost else facts | self._calibration(values)

    def _calibration(self, values: dict[str, np.ndarray]) -> dict[str, str]:
        """The truth's colorfulness beside what is published of it: another tells of another resize or decoder."""
        published = self._protocol.truth_colorfulness
        if published is None or "colorfulness_truth" not in values:
            return {}
        found = values["colorfulness_truth"].mean()
        said = f"the truth's mean colorfulness is {found:.2f} and published as {published:.2f}"
        if abs(found - published) > _CALIBRATED:
            log.warning("%s: look for what is different about these pictures", said)
        return {"calibration": said}

    def _shown(self, i: int, programs: Programs) -> Shown:
        if self._mesh.size > 1:  # other processes do not take part in drawing, and other devices have nothing to do
            programs = self._local_programs
        batch: Batch = self._photographs.alone(i, programs.batch_multiple)
        predicted, palettes = programs.paint(batch)
        truth = batch["truth"][0]
        gray = join(luminance(truth), np.zeros((1, 1, 2), np.float32))
        return Shown(gray, predicted[0], truth, None if palettes is None else palettes[0])

    @cached_property
    def _local_programs(self) -> Programs:
        mesh = make_mesh(devices=jax.local_devices()[:1])
        return Programs(mesh, self._system, Networks(), ())


def _few(count: int) -> str:
    return f"FID of {count:,} pictures means next to nothing, since it takes at least {FEWEST_FOR_FID:,}"


def _batch_size(asked: int | None, mesh: Mesh, count: int) -> int:
    if asked is None:  # no more than there are, since batches are filled up
        most = _ON_CPU if jax.default_backend() == "cpu" else _ON_ACCELERATOR
        return mesh.size * min(most, -(-count // mesh.size))
    if asked < 1 or asked % mesh.size:
        raise UserError(f"a batch of {asked} cannot be spread over {mesh.size} devices: make it a multiple of that.")
    return asked


def _absent(system: System, metrics: Collection[str]) -> dict[str, str]:
    """The metrics that cannot be had of a system, and why."""
    absent = {}
    if not isinstance(system, Checkpoint):
        reasons = {
            "diversity": "it needs a model that paints with several palettes",
            "size_consistency": "it needs a model that can be given photographs at several sizes",
        }
        absent = {name: reason for name, reason in reasons.items() if name in metrics}
    elif "diversity" in metrics and not system.colorizer.takes_reference:
        absent["diversity"] = f'a model of the kind "{system.colorizer.config.model}" takes no palettes'
    return absent


def _one_behind(started: Iterable[dict[str, jax.Array]]) -> Iterator[dict[str, np.ndarray]]:
    """The values on the host, each fetched when the devices have the next batch to work on already."""
    before = None
    for values in started:
        if before is not None:
            yield jax.device_get(before)
        before = values
    if before is not None:
        yield jax.device_get(before)
