"""Saves and restores the checkpoints of a training run (Orbax), without waiting for the disk.

`reading` describes a checkpoint's folder. It gets its final name by an atomic rename after everything in it is written
(on object stores a last file marks it as complete), so that a save that was killed half-way is never taken for a
checkpoint.

All processes of a run call the methods together, and must see the same folder.
"""

import json
import logging
import math
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import jax
from etils import epath
from orbax.checkpoint import v1 as ocp

from palgan_jax.checkpoint import checksums
from palgan_jax.checkpoint.compatibility import check_shapes
from palgan_jax.checkpoint.reading import (
    FORMAT,
    UNFINISHED,
    best_step,
    find_damage,
    first_cause,
    own_process,
    path_of,
    preserved_steps,
    read_note,
    shapes_of,
)
from palgan_jax.checkpoint.soundness import Damaged
from palgan_jax.distributed.collectives import all_agree, number_of_first
from palgan_jax.errors import UserError

log = logging.getLogger(__name__)


# -------------------------------------------------------------------------------------------- the two parts of a state


def _split(state: Any) -> tuple[dict, dict]:
    """Returns the inference part of a state and the rest by field name: every leaf is in exactly one of them."""
    rest = {f.name: getattr(state, f.name) for f in fields(state) if f.metadata.get("pytree_node", True)}
    inference = {"batch_stats": {}, "spectral": {}, **rest.pop("ema")}
    generator = dict(rest["generator"])
    inference["spectral"] = generator.pop("spectral", {})
    return inference, {**rest, "generator": generator}


def _join(state: Any, inference: Mapping, rest: Mapping) -> Any:
    """Inverts `_split`, with `state` as the pattern."""
    generator = dict(rest["generator"])
    if "spectral" in state.generator:
        generator["spectral"] = inference["spectral"]
    return state.replace(**{**rest, "generator": generator, "ema": {name: inference[name] for name in state.ema}})


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    """Returns shape, type and sharding of a leaf; by default on the first device of this process."""
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _read_state(folder: epath.Path, abstract_state: Any) -> tuple[Any, dict]:
    """Returns the state on the shardings of `abstract_state`, and the note. Raises UserError where they do not fit."""
    note = read_note(folder)
    inference, rest = _split(jax.tree.map(_abstract, abstract_state))
    for part, shapes in (("ema", inference), ("state", rest)):
        check_shapes(shapes_of(folder, part), shapes, f"{folder}/{part}")
    with own_process(), jax.transfer_guard("allow"):
        parts = ocp.load_checkpointables(folder, {"ema": inference, "state": rest})
    return _join(abstract_state, parts["ema"], parts["state"]), note


# ------------------------------------------------------------------------------------------------- checkpoints of a run


class Checkpoints:
    """Keeps the checkpoints of one run in one folder.

    Args:
      directory: where the checkpoints are or will be; local, or any path that etils.epath opens (gs://...).
      keep: the number of latest checkpoints to keep.
      best: the name of a metric; the checkpoint where it was best is kept, too, however old it is.
      best_mode: "max" or "min".

    Making this object removes what is left of saves that were killed, so that only the run itself should make one;
    the functions of `reading` and `find` only read.
    """

    def __init__(self, directory: Any, keep: int = 3, best: str | None = None, best_mode: str = "max"):
        if keep < 1:
            raise UserError(f"keep is {keep}: at least the latest checkpoint has to be kept.")
        if best_mode not in ("max", "min"):
            raise UserError(f"the mode of the best checkpoint is {best_mode!r}: it can be max or min.")
        self._directory = path_of(directory)
        self._keep, self._best, self._mode = keep, best, best_mode
        self._abandoned: set[int] = set()  # newer than the one that was restored
        self._current: set[int] = set()  # saved or restored by this object
        self._starting = threading.RLock()  # held while a save begins
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._checkpointer = ocp.training.Checkpointer(
                self._directory, preservation_policy=_Preserve(self), cleanup_tmp_directories=True
            )
            self._metrics = {step: self._read_metrics(step) for step in self.steps}
        except Exception as error:  # Orbax reads what is there, which may be damaged in any way
            raise UserError(
                f"checkpoints cannot be kept in {self._directory} ({first_cause(error)}): choose another place."
            ) from error

    def _folder(self, step: int) -> epath.Path:
        return self._directory / str(step)

    def _read_metrics(self, step: int) -> dict:
        try:
            return read_note(self._folder(step))["metrics"]
        except (Damaged, UserError):
            return {}

    @property
    def steps(self) -> list[int]:
        """Returns the steps of the checkpoints, ascending; a save that is still being written counts."""
        return [entry.step for entry in self._checkpointer.checkpoints if entry.step not in self._abandoned]

    @property
    def latest_step(self) -> int | None:
        """Returns the step of the latest checkpoint, None where there is none."""
        return max(self.steps, default=None)

    @property
    def best_step(self) -> int | None:
        """Returns the step where the metric `best` was best, the later of two equals; None where no save had it."""
        return best_step({step: self._metrics.get(step, {}) for step in self.steps}, self._best, self._mode)

    @property
    def best(self) -> tuple[int, Mapping[str, float | None]] | None:
        """Returns the best step and what was measured at it; None where no save had the metric `best`."""
        step = self.best_step
        return None if step is None else (step, self._metrics[step])

    def _preserved(self, steps: Collection[int]) -> set[int]:
        candidates = set(steps) - self._abandoned
        metrics = {step: self._metrics.get(step, {}) for step in candidates}
        return preserved_steps(metrics, self._keep, self._best, self._mode)

    def save(self, step: int, state: Any, *, data_position: int, config: dict, metrics: Mapping | None = None) -> bool:
        """Starts to write a checkpoint and returns once the state is copied off the devices (it may then be donated).

        Args:
          state: a flax.struct dataclass with the fields of palgan_jax.training.state.TrainState.
          data_position: the number of samples that the input pipeline has handed out, over all processes.
          config: the run's config, of JSON types.
          metrics: numbers; `best` is looked up among them.

        Returns False, writing nothing, where this object has saved or restored that step already. An error of the
        writing itself is raised by the next call of save, wait or close.
        """
        if step in self._current:
            return False
        values = {name: float(value) for name, value in (metrics or {}).items()}
        note = {
            "palgan_format": FORMAT,
            "step": int(step),
            "data_position": int(data_position),
            "config": json.loads(json.dumps(config)),
            # JSON has no NaN.
            "metrics": {name: value if math.isfinite(value) else None for name, value in values.items()},
            "best": {"metric": self._best, "mode": self._mode},
        }
        inference, rest = _split(state)
        with self._starting:
            self.wait()  # two saves at a time would only compete for the disk
            self._metrics[step] = note["metrics"]
            stale = step in self._abandoned
            self._abandoned.discard(step)
            with self._writing(), _checksummed(self._folder(step)), jax.transfer_guard("allow"):
                self._checkpointer.save_checkpointables_async(
                    step, {"ema": inference, "state": rest}, custom_metadata=note, force=True, overwrite=stale
                )
        self._current.add(step)
        return True

    def restore(self, abstract_state: Any, step: int | None = None) -> tuple[Any, int, dict]:
        """Returns (state, data_position, metrics) of a step, by default of the latest checkpoint that is not damaged.

        Args:
          abstract_state: the state with jax.ShapeDtypeStruct (or arrays) as leaves; their shardings say where the
            arrays go, whatever mesh and number of processes wrote them.

        For each damaged checkpoint there is a warning, and the one before it is tried. Checkpoints newer than the
        restored one are then abandoned: they are no longer listed, a save at their step replaces them, and the next
        save removes the rest.

        Raises UserError where there is no checkpoint, all are damaged, or the arrays do not fit.
        """
        self.wait()
        candidate = self._sound([step] if step is not None else self.steps[::-1])
        state, note = _read_state(self._folder(candidate), abstract_state)
        self._current = {candidate}
        self._abandoned |= {step for step in self.steps if step > candidate}
        return state, note["data_position"], note["metrics"]

    def latest_sound_step(self) -> int:
        """Returns the step of the latest checkpoint that is not damaged, with a warning for each that is.

        Reads all files of it. Raises UserError where there is none.
        """
        return self._sound(self.steps[::-1])

    def _sound(self, candidates: list[int]) -> int:
        """Returns the first of the steps, all of this folder, whose checkpoint is not damaged."""
        if not candidates:
            raise UserError(f"there is no checkpoint in {self._directory}.")
        if absent := set(candidates) - set(self.steps):
            raise UserError(
                f"there is no checkpoint of step {min(absent)} in {self._directory}: choose one of {self.steps}."
            )
        problems = []
        for candidate in map(number_of_first, candidates):
            folder = self._folder(candidate)
            problem = find_damage(folder)
            # All processes load, or none: Orbax numbers its operations, and the barriers of the next save would never
            # meet if some processes had loaded once more than others.
            if all_agree(problem is None):
                return candidate
            problems.append(f"{folder} is damaged: {problem or 'another process could not read it'}")
            if candidate != candidates[-1]:
                log.warning("the checkpoint %s; going back to the one before it", problems[-1])
        raise UserError(f"no checkpoint can be restored ({'; '.join(problems)}): start afresh with another --workdir.")

    def read_config(self) -> dict:
        """Returns the config that the latest readable checkpoint was saved with. Raises UserError where none is."""
        for step in self.steps[::-1]:
            try:
                return read_note(self._folder(step))["config"]
            except Damaged:
                continue
        raise UserError(f"there is no readable checkpoint in {self._directory}.")

    def wait(self) -> None:
        """Waits until the last save is on disk. Raises UserError where it could not be written.

        Another thread than that which saves may call it.
        """
        with self._starting, self._writing():
            self._checkpointer.wait()

    def close(self) -> None:
        """Waits for the last save, then releases the folder. Raises UserError where it could not be written."""
        with self._writing():
            self._checkpointer.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns errors of writing, in a `with` body, into a UserError."""
        try:
            yield
        except Exception as error:
            raise UserError(
                f"a checkpoint cannot be written to {self._directory} ({first_cause(error)}): make room, or start "
                "again from the one before."
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Preserve:
    """Adapts `Checkpoints` to the preservation policy of Orbax."""

    def __init__(self, owner: Checkpoints):
        self._owner = owner

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        steps = self._owner._preserved([entry.step for entry in checkpoints])
        return [entry.step in steps for entry in checkpoints]


def _checksummed(folder: epath.Path) -> ocp.Context:
    """Returns a context whose save adds the checksums, in the background, just before the checkpoint gets its name."""

    def finish() -> None:
        if jax.process_index() == 0:
            unfinished = [*folder.parent.glob(folder.name + UNFINISHED + "*")]
            checksums.write(unfinished[0] if unfinished else folder)

    context = ocp.Context()
    context.asynchronous.post_finalization_callback = finish
    # Otherwise a folder that cannot be made is noticed only after 20 minutes of waiting for it.
    context.asynchronous.create_directories_asynchronously = False
    return context
