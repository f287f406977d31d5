"""Checkpoints of a training run (Orbax): save without waiting, resume anywhere, load the EMA weights alone.

One checkpoint is one folder, `<directory>/<step>/`:
- `ema/`: the inference part {params, batch_stats, spectral}, which is what colorizing needs;
- `state/`: the rest of the training state (the trained weights, both optimizers, the key, the step);
- `_CHECKPOINT_METADATA`: written by Orbax; our config, data position and metrics are its custom metadata;
- `checksums.json`: length and CRC-32 of every file of the two parts.

A folder appears under its final name by an atomic rename after everything in it is written (on object stores: is
ended by a commit file), so a save that is killed half-way is never taken for a checkpoint.

All processes of a run call the methods together; the folder must be one that all of them see.
"""

import json
import logging
import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from palgan_jax.checkpoint import checksums
from palgan_jax.checkpoint.checksums import Damaged
from palgan_jax.checkpoint.compatibility import check_shapes
from palgan_jax.errors import UserError

FOLDER = "checkpoints"  # within a working directory
FORMAT = 1
_NOTE = {"step": int, "data_position": int, "config": dict, "metrics": dict, "best": dict}
UNFINISHED = ".orbax-checkpoint-tmp"  # how Orbax ends the name of a folder that it is writing

log = logging.getLogger(__name__)


# ------------------------------------------------------------------------------------------------------ the two parts


def _split(state: Any) -> tuple[dict, dict]:
    """State -> (inference part, the rest by field name): every leaf is in exactly one of them."""
    rest = {f.name: getattr(state, f.name) for f in fields(state) if f.metadata.get("pytree_node", True)}
    inference = {"batch_stats": {}, "spectral": {}, **rest.pop("ema")}
    generator = dict(rest["generator"])
    inference["spectral"] = generator.pop("spectral", {})
    return inference, {**rest, "generator": generator}


def _join(state: Any, inference: Mapping, rest: Mapping) -> Any:
    """The inverse of `_split`, with `state` as the pattern."""
    generator = dict(rest["generator"])
    if "spectral" in state.generator:
        generator["spectral"] = inference["spectral"]
    return state.replace(**{**rest, "generator": generator, "ema": {name: inference[name] for name in state.ema}})


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


# ---------------------------------------------------------------------------------------------------- reading a folder


def _alone() -> ocp.Context:
    """Orbax without its barriers: a process that finds damage must not leave the others waiting for it."""
    context = ocp.Context()
    context.multiprocessing.active_processes = {jax.process_index()}
    context.multiprocessing.primary_host = jax.process_index()
    return context


def _steps(directory: epath.Path) -> list[int]:
    """Steps of the finished checkpoints in a folder, ascending."""
    return sorted(found.step for found in ocp.path.step.standard_name_format().find_all(directory))


def _read_note(folder: epath.Path) -> tuple[dict, Any]:
    """-> (what `Checkpoints.save` noted beside the arrays, shapes of the inference part). Raises Damaged, UserError."""
    if not (folder / "ema").is_dir():
        raise Damaged("it has no part named ema, which every PalGAN checkpoint has")
    try:
        with _alone():
            found = ocp.metadata(folder, checkpointable_name="ema")
        note: Any = found.custom_metadata
    except Exception as error:
        raise Damaged(f"its description cannot be read ({_first_cause(error)})") from error
    if not isinstance(note, dict) or not isinstance(note.get("palgan_format"), int):
        raise Damaged("its description is missing or not that of a PalGAN checkpoint")
    if note["palgan_format"] > FORMAT:
        raise UserError(f"{folder} was written by a newer version of palgan_jax: update the package to read it.")
    if wrong := [name for name, kind in _NOTE.items() if not isinstance(note.get(name), kind)]:
        raise Damaged(f"its description lacks {', '.join(wrong)}")
    return note, found.metadata


def _first_cause(error: BaseException) -> str:
    """Orbax wraps the reason in long messages: the innermost one, on one line."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= 160 else line[:157] + "..."


def _inspect(folder: epath.Path) -> str | None:
    """What is wrong with the files of a checkpoint."""
    try:
        _read_note(folder)
        if jax.process_index() == 0:  # one reading of all files is enough
            checksums.verify(folder)
    except Damaged as error:
        return str(error)
    return None


def _read_state(folder: epath.Path, abstract_state: Any) -> tuple[Any, dict]:
    """-> (state on the shardings of `abstract_state`, note)."""
    note, stored = _read_note(folder)
    inference, rest = _split(jax.tree.map(_abstract, abstract_state))
    check_shapes(stored, inference, f"{folder}/ema")
    with _alone(), jax.transfer_guard("allow"):
        check_shapes(ocp.metadata(folder, checkpointable_name="state").metadata, rest, f"{folder}/state")
        parts = ocp.load_checkpointables(folder, {"ema": inference, "state": rest})
    return _join(abstract_state, parts["ema"], parts["state"]), note


# ------------------------------------------------------------------------------------------------------------ training


class Checkpoints:
    """The checkpoints of one run, in one folder.

    Args:
      directory: where the checkpoints are or will be; local, or any path that etils.epath opens (gs://...).
      keep: how many of the latest to keep.
      best: name of a metric; the checkpoint where it was best is kept too, however old it is.
      best_mode: "max" or "min".

    Left-overs of saves that were killed are removed when the object is made, so only the run itself should make one;
    `load_ema` and `palgan_jax.checkpoint.weights_file.describe` only read.
    """

    def __init__(self, directory: Any, keep: int = 3, best: str | None = None, best_mode: str = "max"):
        if keep < 1:
            raise UserError(f"keep is {keep}: at least the latest checkpoint has to be kept.")
        if best_mode not in ("max", "min"):
            raise UserError(f"the mode of the best checkpoint is {best_mode!r}: it can be max or min.")
        self._directory = epath.Path(directory).resolve()
        self._keep, self._best, self._mode = keep, best, best_mode
        self._abandoned: set[int] = set()  # newer than the one that was restored
        self._current: set[int] = set()  # saved or restored by this object
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._checkpointer = ocp.training.Checkpointer(
                self._directory, preservation_policy=_Preserve(self), cleanup_tmp_directories=True
            )
        except OSError as error:
            raise UserError(
                f"checkpoints cannot be kept in {self._directory} ({error}): choose another place."
            ) from error
        self._metrics = {step: self._read_metrics(step) for step in self.steps}

    def _folder(self, step: int) -> epath.Path:
        return self._directory / str(step)

    def _read_metrics(self, step: int) -> dict:
        try:
            return _read_note(self._folder(step))[0]["metrics"]
        except (Damaged, UserError):
            return {}

    @property
    def steps(self) -> list[int]:
        """Steps of the checkpoints, ascending; a save that is still being written counts."""
        return [found.step for found in self._checkpointer.checkpoints if found.step not in self._abandoned]

    @property
    def latest_step(self) -> int | None:
        return max(self.steps, default=None)

    @property
    def best_step(self) -> int | None:
        """The step where the metric `best` was best, the later one of two equals; None where it was never given."""
        return _best_step({step: self._metrics.get(step, {}) for step in self.steps}, self._best, self._mode)

    def _preserved(self, steps: Collection[int]) -> set[int]:
        good = sorted(set(steps) - self._abandoned)
        best = _best_step({step: self._metrics.get(step, {}) for step in good}, self._best, self._mode)
        return {*good[-self._keep :], *([] if best is None else [best])}

    def save(self, step: int, state: Any, *, data_position: int, config: dict, metrics: Mapping | None = None) -> bool:
        """Starts to write a checkpoint and returns once the state is copied off the devices (it may then be donated).

        Args:
          state: a flax.struct dataclass with the fields of palgan_jax.training.state.TrainState.
          data_position: how many examples or batches the input pipeline has given out.
          config: the run's config, of types that JSON knows.
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
        """-> (state, data_position, metrics) of a step, by default of the latest checkpoint that is sound.

        Args:
          abstract_state: the state with jax.ShapeDtypeStruct (or arrays) as leaves; their shardings say where the
            arrays go, whatever mesh and number of processes wrote them.

        A damaged latest checkpoint is passed over for the one before, with a warning that names it. Checkpoints newer
        than the restored one are then given up: they are no longer listed, a save at their step replaces them, and
        the next save removes those that remain.

        Raises UserError where there is no checkpoint, none is sound, or the arrays do not fit.
        """
        self.wait()
        candidate = self._sound([step] if step is not None else self.steps[::-1])
        state, note = _read_state(self._folder(candidate), abstract_state)
        self._current = {candidate}
        self._abandoned |= {other for other in self.steps if other > candidate}
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
        for candidate in map(_from_first_process, candidates):
            folder = self._folder(candidate)
            problem = _inspect(folder)
            # Only when no process knows of damage do all of them load: Orbax numbers what it does, and barriers of
            # the next save would never meet if some had loaded once more than others.
            if _all_processes(problem is None):
                return candidate
            problems.append(f"{folder} is damaged: {problem or 'another process could not read it'}")
            if candidate != candidates[-1]:
                log.warning("the checkpoint %s; going back to the one before it", problems[-1])
        raise UserError(f"no checkpoint can be restored ({'; '.join(problems)}): start afresh with another --workdir.")

    def read_config(self, step: int | None = None) -> dict:
        """The config that a checkpoint was saved with, by default the latest readable one."""
        for candidate in [step] if step is not None else self.steps[::-1]:
            try:
                return _read_note(self._folder(candidate))[0]["config"]
            except Damaged as error:
                if step is not None:
                    raise UserError(
                        f"the checkpoint {self._folder(step)} is damaged ({error}): choose another."
                    ) from error
        raise UserError(f"there is no readable checkpoint in {self._directory}.")

    def wait(self) -> None:
        """Returns when the last save is on disk; raises UserError where it could not be written."""
        with self._writing():
            self._checkpointer.wait()

    def close(self) -> None:
        """Waits, then lets go of the folder."""
        with self._writing():
            self._checkpointer.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise UserError(
                f"a checkpoint cannot be written to {self._directory} ({_first_cause(error)}): make room, or start "
                "again from the one before."
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Preserve:
    """Orbax's question which checkpoints to keep, answered by `Checkpoints`."""

    def __init__(self, owner: Checkpoints):
        self._owner = owner

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        kept = self._owner._preserved([found.step for found in checkpoints])
        return [found.step in kept for found in checkpoints]


def _best_step(metrics: Mapping[int, Mapping], name: str | None, mode: str) -> int | None:
    sign = 1 if mode == "max" else -1
    values = [(sign * found[name], step) for step, found in metrics.items() if found.get(name) is not None]
    return max(values)[1] if values else None


def _checksummed(folder: epath.Path) -> ocp.Context:
    """A context whose save adds the checksums, in the background, just before the checkpoint gets its final name."""

    def finish() -> None:
        if jax.process_index() == 0:
            unfinished = [*folder.parent.glob(folder.name + UNFINISHED + "*")]
            checksums.write(unfinished[0] if unfinished else folder)

    context = ocp.Context()
    context.asynchronous.post_finalization_callback = finish
    # Made in the background, a folder that cannot be made is noticed only after 20 minutes of waiting for it.
    context.asynchronous.create_directories_asynchronously = False
    return context


def _all_processes(fine: bool) -> bool:
    """Whether `fine` is true on every process."""
    if jax.process_count() == 1:
        return fine
    with jax.transfer_guard("allow"):
        return bool(np.all(multihost_utils.process_allgather(np.int32(fine))))


def _from_first_process(step: int) -> int:
    if jax.process_count() == 1:
        return step
    with jax.transfer_guard("allow"):
        return int(multihost_utils.broadcast_one_to_all(np.int32(step)))


# --------------------------------------------------------------------------------------------------------- EMA weights


def load_ema(directory: Any, step: int | str | None = None) -> dict:
    """The EMA weights of a checkpoint as numpy trees, without building or reading the training state.

    Args:
      directory: a working directory, its checkpoints/ folder, or the folder of one step.
      step: a number, "best" (by the metric that the run was told to keep), or None for the latest sound one.

    Returns:
      {"variables": {"params", "batch_stats", "spectral"}, "config": dict, "step": int, "metrics": dict, "path": str}

    Raises UserError where there is no checkpoint or it cannot be read.
    """
    root = epath.Path(directory).resolve()
    candidates = _find(root, step)
    for folder in candidates:
        try:
            return _load_inference(folder)
        except Damaged as error:
            problem = f"{folder} is not a readable PalGAN checkpoint ({error})"
            if folder == candidates[-1]:
                raise UserError(f"{problem}: name another.") from error
            log.warning("%s; going back to the one before it", problem)
    raise AssertionError


def _load_inference(folder: epath.Path) -> dict:
    note, stored = _read_note(folder)
    checksums.verify(folder, "ema")
    with _alone():
        variables = ocp.load_checkpointables(folder, {"ema": jax.tree.map(lambda _: np.ndarray, stored)})["ema"]
    return {
        "variables": variables,
        "config": note["config"],
        "step": note["step"],
        "metrics": note["metrics"],
        "path": str(folder),
    }


def _find(root: epath.Path, step: int | str | None) -> list[epath.Path]:
    """The folders to try, best first. Raises UserError with what was found where there is none."""
    if not root.exists():
        raise UserError(f"there is no checkpoint at {root}, which does not exist: check the path.")
    if not root.is_dir():
        raise UserError(f"{root} is neither a folder of checkpoints nor a .safetensors file: name one of those.")
    if UNFINISHED in root.name:
        raise UserError(f"{root} is a save that was not finished: give the folder above it.")
    if (root / "_CHECKPOINT_METADATA").exists() or (root / "ema").is_dir():
        return [root]
    if (root / FOLDER).is_dir():
        root = root / FOLDER
    steps = _steps(root)
    if not steps:
        entries = sorted(entry.name for entry in root.iterdir())
        found = f"holds {', '.join(entries[:3])}{', ...' if len(entries) > 3 else ''}" if entries else "is empty"
        raise UserError(f"there is no checkpoint in {root}, which {found}: name a working directory.")
    if step == "best":
        return [root / str(_find_best(root, steps))]
    if step is None:
        return [root / str(found) for found in reversed(steps)]
    if step not in steps:
        raise UserError(f"there is no checkpoint of step {step} in {root}: choose one of {', '.join(map(str, steps))}.")
    return [root / str(step)]


def _find_best(root: epath.Path, steps: list[int]) -> int:
    notes = {}
    for step in steps:
        try:
            notes[step] = _read_note(root / str(step))[0]
        except Damaged as error:
            log.warning("the checkpoint %s is damaged: %s", root / str(step), error)
    rule = notes[max(notes)]["best"] if notes else {"metric": None, "mode": "max"}
    best = _best_step({step: note["metrics"] for step, note in notes.items()}, rule["metric"], rule["mode"])
    if best is None:
        raise UserError(
            f"no checkpoint in {root} is known as the best, its run was not told by which metric: take the latest."
        )
    return best
