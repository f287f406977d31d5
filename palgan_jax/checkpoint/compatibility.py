"""Whether a checkpoint fits the run that wants to go on from it."""

import json
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_leaves_with_path

from palgan_jax.config import default_config, flatten, flatten_saved
from palgan_jax.errors import UserError


def check_fits(saved: Mapping, current: Mapping, free: Collection[str] = (), where: str = "") -> None:
    """Refuses to resume with a config that would make another run of it.

    Args:
      saved: config of the checkpoint, as nested dicts. A field that it does not know had its default.
      current: config of the run that wants to resume.
      free: fields, or groups of them, that may differ: "total", "data.workers", "mesh".
      where: the working directory, for the sentence.

    Raises UserError with all fields that differ and are not free.
    """
    # Through JSON, as the saved one went: tuples and lists are the same.
    here = flatten(json.loads(json.dumps(current)))
    defaults = {name: value for name, value in flatten(default_config()).items() if name in here}
    there = {**defaults, **flatten_saved(json.loads(json.dumps(saved)))}

    def may_differ(name: str) -> bool:
        return any(name == prefix or name.startswith(prefix + ".") for prefix in free)

    def show(values: Mapping, name: str) -> str:
        return json.dumps(values[name]) if name in values else "absent"

    names = sorted(name for name in there.keys() | here.keys() if not may_differ(name))
    pairs = {name: (show(there, name), show(here, name)) for name in names}
    different = [f"{name} ({a} there, {b} here)" for name, (a, b) in pairs.items() if a != b]
    if different:
        raise UserError(
            f"the checkpoint{f' in {where}' if where else ''} was made with another config, {', '.join(different)}: "
            "give the same values, or start afresh with another --workdir."
        )


def is_key(leaf: Any) -> bool:
    """Whether an array is one of typed random keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of a tree's arrays by their names, such as "params/palette_generator/fc/kernel"."""
    return {keystr(path, simple=True, separator="/"): tuple(leaf.shape) for path, leaf in tree_leaves_with_path(tree)}


def check_shapes(stored: Any, wanted: Any, where: str) -> None:
    """Raises UserError where the arrays of a checkpoint are not those of the state that they are wanted for.

    Args:
      stored: tree of what has a shape; containers and fields may be dicts and lists of the same names.
      wanted: tree of arrays or jax.ShapeDtypeStruct.
      where: the part of the checkpoint, for the sentence.
    """

    def numbers(leaf: Any) -> Any:  # typed keys are stored as the numbers that they are made of
        return jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf

    there, here = shapes(stored), shapes(jax.tree.map(numbers, wanted))
    different = [name for name in sorted(there.keys() | here.keys()) if there.get(name) != here.get(name)]
    if different:
        name = different[0]
        raise UserError(
            f"{where} does not fit the model in {len(different)} arrays, the first of them {name} with shape "
            f"{there.get(name, 'none')} there and {here.get(name, 'none')} here: give the config that it was made with."
        )
