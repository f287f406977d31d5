"""Compares the config and the arrays of a checkpoint with those of the run that resumes from it."""

import json
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_leaves_with_path

from palgan_jax.config import default_config, flatten, flatten_saved, is_of
from palgan_jax.errors import UserError


def check_fits(saved: Mapping, current: Mapping, free: Collection[str] = (), where: str = ".") -> None:
    """Raises UserError where the config of a run differs from that of the checkpoint it resumes from.

    Args:
      saved: config of the checkpoint, as nested dicts. A field that is missing there had its default.
      current: config of the run, as nested dicts.
      free: fields, or groups of them, that may differ: "total", "data.workers", "mesh".
      where: the working directory, for the message, which names all fields that differ and are not free.
    """
    # Through JSON, as the saved config was: tuples and lists are the same.
    run_fields = flatten(json.loads(json.dumps(current)))
    defaults = {name: value for name, value in flatten(default_config()).items() if name in run_fields}
    checkpoint_fields = {**defaults, **flatten_saved(json.loads(json.dumps(saved)))}

    def show(values: Mapping, name: str) -> str:
        return json.dumps(values[name]) if name in values else "absent"

    names = sorted(name for name in checkpoint_fields.keys() | run_fields.keys() if not is_of(name, free))
    pairs = {name: (show(checkpoint_fields, name), show(run_fields, name)) for name in names}
    changes = [f"{name} ({a} there, {b} here)" for name, (a, b) in pairs.items() if a != b]
    if changes:
        raise UserError(
            f"the checkpoint in {where} was made with another config, {', '.join(changes)}: give the same values, or "
            f"start another run from its model, with another --workdir and --from {where}."
        )


def is_key(leaf: Any) -> bool:
    """Returns True for an array of typed random keys (`jax.random.key`)."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a tree's leaves, each of which must have one, by names such as "params/conv_0/kernel"."""
    return {keystr(path, simple=True, separator="/"): tuple(leaf.shape) for path, leaf in tree_leaves_with_path(tree)}


def check_shapes(stored: Any, expected: Any, where: str) -> None:
    """Raises UserError where the arrays of a checkpoint are not those of a state.

    Args:
      stored: the checkpoint's tree, whose leaves have shapes; tuples and dataclasses of the state may be lists and
        dicts of the same names in it.
      expected: the state's tree, of arrays or jax.ShapeDtypeStruct.
      where: the part of the checkpoint, for the message.
    """

    def stored_as(leaf: Any) -> Any:  # typed keys are stored as the integers in them
        return jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf

    stored_shapes, expected_shapes = shapes(stored), shapes(jax.tree.map(stored_as, expected))
    differences = [
        name
        for name in sorted(stored_shapes.keys() | expected_shapes.keys())
        if stored_shapes.get(name) != expected_shapes.get(name)
    ]
    if differences:
        name = differences[0]
        pair = f"{stored_shapes.get(name, 'none')} there and {expected_shapes.get(name, 'none')} here"
        raise UserError(
            f"{where} does not fit the model in {len(differences)} arrays, the first of them {name} with shape {pair}: "
            "give the config that it was made with."
        )
