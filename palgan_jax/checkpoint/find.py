"""Finds the weights that a user names with `--checkpoint`, and describes them for `palgan info`."""

import json
import os
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from palgan_jax.checkpoint.weights import COLLECTIONS, Weights
from palgan_jax.checkpoint.weights_file import load_weights
from palgan_jax.errors import UserError, printable
from palgan_jax.hub.download import download_weights
from palgan_jax.hub.names import is_hub_name, parse_name
from palgan_jax.util.buckets import Bucket, is_address
from palgan_jax.util.text import in_words
from palgan_jax.util.trees import flatten_names

BUNDLED = Path(__file__).parents[1] / "bundled"


def find_weights(path: str | os.PathLike | None = None, step: int | str | None = None) -> Weights:
    """Loads the weights that `--checkpoint PATH` means.

    Args:
      path: a .safetensors file; a working directory, its checkpoints/ folder or one step's folder; hf:OWNER/NAME or
        hf:OWNER/NAME@REVISION, a model on the Hugging Face Hub; or None for the weights that come with the package.
      step: which checkpoint of a directory: a number, "best", or None for the latest.

    Raises UserError where nothing can be loaded (a model without weights would only paint gray), and for a step of a
    single file.
    """
    if has_one_step(path) and step is not None:
        raise UserError(
            f"{path or 'the bundled file'} holds the weights of one step: name a working directory to choose the "
            f"{step if step == 'best' else f'step {step}'} among its checkpoints."
        )
    if path is None:
        bundled = sorted(BUNDLED.glob("*.safetensors"))
        if not bundled:
            raise UserError(
                "no weights come with this installation: train some with `palgan train`, "
                "or name a .safetensors file or a working directory with --checkpoint."
            )
        weights = load_weights(bundled[0])
        return replace(weights, source=f"{weights.origin} of {bundled[0].name} (bundled)")
    if is_hub_name(path):
        file, name = download_weights(parse_name(path))
        return load_weights(file, str(name))
    if has_one_step(path):
        return load_weights(path)
    # Orbax takes a second to import and is not needed for a single file.
    from palgan_jax.checkpoint.reading import load_ema

    return load_ema(path, step)


def has_one_step(path: str | os.PathLike | None) -> bool:
    """Returns True for names of weights without a choice of steps: all but those of folders."""
    return path is None or is_hub_name(path) or str(path).endswith(".safetensors")


def describe(path: str | os.PathLike | None = None) -> str:
    """Returns what `palgan info PATH` prints: step, size, parameters of each part, metrics, config.

    Raises UserError where `find_weights` does.
    """
    weights = find_weights(path)
    params = weights.variables["params"]
    counts = {name: _count(part) for name, part in params.items() if isinstance(part, Mapping)}
    statistics = _count({c: weights.variables.get(c, {}) for c in COLLECTIONS[1:]})
    sizes = _sizes(weights.path)
    size = in_words(sum(sizes.values()), 1)
    if ema := sum(bytes_ for name, bytes_ in sizes.items() if name.startswith("ema/")):
        size += f", of which {in_words(ema, 1)} are EMA weights"
    lines = [f"checkpoint   {weights.source}", f"size         {size}", "parameters"]
    counts |= {"total": sum(counts.values()), "(statistics)": statistics}
    lines += _table({name: f"{count:,}" for name, count in counts.items()})
    if metrics := {name: f"{value:.4g}" for name, value in weights.metrics.items() if value is not None}:
        lines += ["metrics", *_table(metrics)]
    return "\n".join([*lines, "config", *_config_lines(weights.config)])


def _table(values: Mapping[str, str]) -> list[str]:
    """Returns a line for each value, all of one width."""
    names = {printable(name): value for name, value in values.items()}
    width = max(24, *(len(name) + 1 for name in names))
    return [f"  {name:<{width}}{value:>12}" for name, value in names.items()]


def _count(tree: Mapping) -> int:
    """Returns the number of values in all arrays of a tree."""
    return sum(int(np.size(array)) for array in flatten_names(tree).values())


def _sizes(path: str) -> dict[str, int]:
    """Returns the bytes of a file, or of all files below a folder or an address, by name."""
    if is_address(path):
        return Bucket(path).sizes()
    place = Path(path)
    files = place.rglob("*") if place.is_dir() else [place]
    return {file.relative_to(place).as_posix(): file.stat().st_size for file in files if file.is_file()}


def _config_lines(config: Mapping) -> list[str]:
    """Returns lines of `field=value`: first the fields outside sections, then each section."""
    sections = {"run": {n: v for n, v in config.items() if not isinstance(v, Mapping)}}
    sections.update({name: value for name, value in config.items() if isinstance(value, Mapping)})
    lines = []
    for name, section in sections.items():
        if section:
            # Lines break between fields, not within a value such as "30 epochs".
            fields = [
                f"{field}={json.dumps(value)}".replace(" ", "\N{NO-BREAK SPACE}") for field, value in section.items()
            ]
            wrapped = textwrap.wrap(" ".join(fields), 100, initial_indent=f"  {name:<15}", subsequent_indent=" " * 17)
            lines += [line.replace("\N{NO-BREAK SPACE}", " ") for line in wrapped]
    return lines
