"""Reads the checkpoints of a run: their notes, their damage, and the EMA weights alone.

One checkpoint is one folder, `<directory>/<step>/`:
- `ema/`: the inference part {params, batch_stats, spectral}, which is what colorizing needs;
- `state/`: the rest of the training state (the trained weights, both optimizers, the key, the step);
- `_CHECKPOINT_METADATA`: written by Orbax, with the note of `Checkpoints.save` as its custom metadata: the format,
  the step, the data position, the config, the metrics and the rule of the best checkpoint;
- `checksums.json`: length and CRC-32 of every file of the two parts.
"""

import gc
import json
import logging
import os
import re
import traceback
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict
from orbax.checkpoint import v1 as ocp

from palgan_jax.checkpoint import checksums
from palgan_jax.checkpoint.soundness import Damaged, check_arrays, check_description, sound_values
from palgan_jax.checkpoint.weights import COLLECTIONS, Weights, without_canceled_biases
from palgan_jax.errors import NO_ROOM, UserError, one_line
from palgan_jax.util.buckets import Bucket, is_address

FOLDER = "checkpoints"  # within a working directory
FORMAT = 1
UNFINISHED = ".orbax-checkpoint-tmp"  # how Orbax ends the name of a folder that it is writing
_NOTE_TYPES = {"step": int, "data_position": int, "config": dict, "metrics": dict, "best": dict}
_DESCRIPTION = "_CHECKPOINT_METADATA"
_MODES = ("max", "min")

log = logging.getLogger(__name__)


# ----------------------------------------------------------------------------------------------------------- one folder


def path_of(directory: Any) -> epath.Path:
    """Returns the absolute path of a folder, or its address in a bucket. Raises UserError for one out of reach."""
    if not is_address(str(directory)):
        return epath.Path(directory).resolve()
    Bucket(str(directory)).check()
    return epath.Path(directory)


def own_process() -> ocp.Context:
    """Returns a context of Orbax without barriers: a process that finds damage leaves no other waiting for it."""
    context = ocp.Context()
    context.multiprocessing.active_processes = {jax.process_index()}
    context.multiprocessing.primary_host = jax.process_index()
    return context


def read_note(folder: epath.Path) -> dict:
    """Returns the note beside the arrays of a checkpoint.

    Raises Damaged where it is not one of a PalGAN checkpoint, UserError where a newer version wrote it.
    """
    if not (folder / "ema").is_dir():
        raise Damaged("it has no part named ema, which every PalGAN checkpoint has")
    try:
        # Orbax would look at the arrays as well, and write lines of its own about damage.
        note = json.loads((folder / _DESCRIPTION).read_text())["custom_metadata"]
    except Exception as error:
        raise Damaged(f"its description cannot be read ({first_cause(error)})") from error
    if not isinstance(note, dict) or not isinstance(note.get("palgan_format"), int):
        raise Damaged("its description is missing or not that of a PalGAN checkpoint")
    if note["palgan_format"] > FORMAT:
        raise UserError(f"{folder} was written by a newer version of palgan_jax: update the package to read it.")
    if missing := [name for name, kind in _NOTE_TYPES.items() if not isinstance(note.get(name), kind)]:
        raise Damaged(f"its description lacks {', '.join(missing)}")
    check_description(note["step"], note["config"], note["metrics"])
    best = note["best"]
    is_rule = "metric" in best and isinstance(best["metric"], str | None) and best.get("mode") in _MODES
    if note["data_position"] < 0 or not is_rule:
        raise Damaged("its description makes no sense")
    return note


def shapes_of(folder: epath.Path, part: str) -> Any:
    """Returns the tree of a part's arrays, whose leaves have shape and dtype; raises what Orbax does for damage."""
    with own_process():
        return ocp.metadata(folder, checkpointable_name=part).metadata


def find_damage(folder: epath.Path) -> str | None:
    """Returns what is wrong with the files of a checkpoint, None where nothing is. Raises UserError as `read_note`.

    The first process reads all files, the others the note alone.
    """
    try:
        read_note(folder)
        if jax.process_index() == 0:
            checksums.verify(folder)
    except Damaged as error:
        return str(error)
    return None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an error, and what it came of, one after another."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def first_cause(error: BaseException) -> str:
    """Returns the innermost reason of an error of Orbax, which wraps it in long messages, on one line."""
    *_, error = _with_causes(error)
    # Libraries put names of their own in front of what the system says.
    full = (text for text in map(os.strerror, NO_ROOM) if text in str(error))
    return next(full, one_line(error, limit=160))


# --------------------------------------------------------------------------------------------------------- EMA weights


def load_ema(directory: Any, step: int | str | None = None) -> Weights:
    """Loads the EMA weights of a checkpoint as numpy arrays, without building or reading the training state.

    Args:
      directory: a working directory, its checkpoints/ folder, or the folder of one step.
      step: a number, "best" (by the metric of the run's config), or None for the latest that is not damaged.

    Raises UserError where there is no checkpoint or it cannot be read.
    """
    candidates = _candidates(path_of(directory), step)
    for folder in candidates:
        try:
            return _load_inference(folder)
        except Damaged as error:
            problem = f"{folder} is not a readable PalGAN checkpoint ({error})"
            if folder == candidates[-1]:
                raise UserError(f"{problem}: name another.") from error
            log.warning("%s; going back to the one before it", problem)
    raise AssertionError


def _load_inference(folder: epath.Path) -> Weights:
    note = read_note(folder)
    file_bytes = checksums.verify(folder, "ema")
    try:
        shapes = shapes_of(folder, "ema")
        flat: dict[str, Any] = flatten_dict(shapes, sep="/")
        arrays = {name: (leaf.shape, np.dtype(leaf.dtype).name) for name, leaf in flat.items()}
        check_arrays(arrays, file_bytes)
        with own_process():
            tree = ocp.load_checkpointables(folder, {"ema": jax.tree.map(lambda _: np.ndarray, shapes)})["ema"]
        flat = flatten_dict(tree, sep="/")
        flat = {name: sound_values(name, values) for name, values in flat.items()}
    except Damaged:
        raise
    except Exception as error:  # whatever damage that its checksums agree with makes of it
        _let_go(error)
        raise Damaged(f"its arrays cannot be read ({first_cause(error)})") from error
    variables = {**{collection: {} for collection in COLLECTIONS}, **unflatten_dict(flat, sep="/")}
    variables = without_canceled_biases(variables, note["config"])
    source = f"step {note['step']} of {folder}"
    return Weights(variables, note["config"], note["step"], note["metrics"], str(folder), source)


def _let_go(error: BaseException) -> None:
    """Frees what a failed read of Orbax has begun, which would warn of coroutines later, wherever that is."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        for cause in _with_causes(error):
            traceback.clear_frames(cause.__traceback__)
        gc.collect()


def load_discriminator(folder: Any) -> dict[str, Any]:
    """Loads the variables of D from the folder of one step, as numpy arrays, and nothing else.

    Raises UserError where they cannot be read.
    """
    folder = epath.Path(folder)
    context = own_process()
    context.pytree.loading.partial_load = True
    try:
        checksums.verify(folder, "state")
        with context:
            stored: Any = ocp.metadata(folder, checkpointable_name="state").metadata
            tree = {"discriminator": jax.tree.map(lambda _: np.ndarray, stored["discriminator"])}
            return ocp.load_checkpointables(folder, {"state": tree})["state"]["discriminator"]
    except (Damaged, KeyError) as error:
        raise UserError(f"{folder} is not a readable PalGAN checkpoint ({error}): name another.") from error


def _candidates(root: epath.Path, step: int | str | None) -> list[epath.Path]:
    """Returns the folders to try, in this order. Raises UserError, which says what is at `root`, where it has none."""
    if not root.exists():
        raise UserError(f"there is no checkpoint at {root}, which does not exist: check the path.")
    if not root.is_dir():
        raise UserError(f"{root} is neither a folder of checkpoints nor a .safetensors file: name one of those.")
    if UNFINISHED in root.name:
        raise UserError(f"{root} is a save that was not finished: give the folder above it.")
    if (root / _DESCRIPTION).exists() or (root / "ema").is_dir():
        return [root]
    root, steps = _steps(root)
    if not steps:
        entries = sorted(entry.name for entry in root.iterdir())
        content = f"holds {', '.join(entries[:3])}{', ...' if len(entries) > 3 else ''}" if entries else "is empty"
        raise UserError(f"there is no checkpoint in {root}, which {content}: name a working directory.")
    if step == "best":
        if (best := _best_of(root, steps)) is None:
            raise UserError(f"no checkpoint in {root} has the metric that makes one the best: take the latest.")
        return [root / str(best)]
    if step is None:
        return [root / str(number) for number in reversed(steps)]
    if step not in steps:
        raise UserError(f"there is no checkpoint of step {step} in {root}: choose one of {', '.join(map(str, steps))}.")
    return [root / str(step)]


def best_in(directory: Any) -> int | None:
    """Returns the best step of a working directory by its run's rule; None where no step was measured."""
    return _best_of(*_steps(path_of(directory)))


def has_checkpoints(directory: Any) -> bool:
    """Returns True for a working directory, or a folder of checkpoints, in which a step was saved."""
    return bool(steps_in(directory))


def steps_in(directory: Any) -> list[int]:
    """Returns the steps that a working directory, or a folder of checkpoints, has, ascending."""
    return _steps(path_of(directory))[1]


def _steps(root: epath.Path) -> tuple[epath.Path, list[int]]:
    """Returns the folder of checkpoints that a folder is or has, and the steps in it, ascending."""
    if (root / FOLDER).is_dir():
        root = root / FOLDER
    if not root.is_dir():
        return root, []
    try:
        return root, sorted(entry.step for entry in ocp.path.step.standard_name_format().find_all(root))
    except Exception:  # one damaged description ends the search of Orbax
        names = [entry.name for entry in root.iterdir()]
        return root, sorted(int(name) for name in names if re.fullmatch(r"\d{1,18}", name, re.ASCII))


def _best_of(root: epath.Path, steps: list[int]) -> int | None:
    """Returns the best step by the rule in the latest readable note; None where no metric was kept."""
    notes = {}
    for step in steps:
        try:
            notes[step] = read_note(root / str(step))
        except Damaged as error:
            log.warning("the checkpoint %s is damaged: %s", root / str(step), error)
    rule = notes[max(notes)]["best"] if notes else {"metric": None, "mode": "max"}
    return best_step({step: note["metrics"] for step, note in notes.items()}, rule["metric"], rule["mode"])


def best_step(metrics: Mapping[int, Mapping], name: str | None, mode: str) -> int | None:
    """Returns the step whose metric `name` is best, the later of two equals; None where no step has it.

    `metrics`: the figures of each step. `mode`: "max" or "min".
    """
    sign = 1 if mode == "max" else -1
    values = [(sign * figures[name], step) for step, figures in metrics.items() if figures.get(name) is not None]
    return max(values)[1] if values else None


def preserved_steps(metrics: Mapping[int, Mapping], keep: int, best: str | None, best_mode: str) -> set[int]:
    """Returns those of the steps that stay: the latest few and the best.

    `metrics`: the figures of each step; the other arguments are those of `saving.Checkpoints`.
    """
    first = best_step(metrics, best, best_mode)
    return {*sorted(metrics)[-keep:], *([] if first is None else [first])}
