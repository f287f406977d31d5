"""Weights for colorizing in one file (safetensors), and the finding of whatever weights a user names.

The file holds the EMA weights under names such as `params/palette_generator/.../kernel`, and in its metadata the
config (JSON), the step, the metrics and the version of this format.
"""

import json
import os
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from palgan_jax.errors import UserError
from palgan_jax.util.files import write_file

FORMAT = 1
COLLECTIONS = ("params", "batch_stats", "spectral")
BUNDLED = Path(__file__).parents[1] / "bundled"


# ------------------------------------------------------------------------------------------------------- one file


def _flatten(tree: Mapping, prefix: str = "") -> dict[str, np.ndarray]:
    flat = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{name}/"))
        else:
            flat[prefix + name] = np.asarray(value)
    return flat


def _unflatten(flat: Mapping[str, np.ndarray]) -> dict:
    tree: dict = {}
    for name, value in flat.items():
        *above, last = name.split("/")
        node = tree
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


def _to_half(name: str, value: np.ndarray) -> np.ndarray:
    """float16 for the parameters; statistics (and what float16 cannot hold) stay float32, they take next to no room."""
    if not name.startswith("params/") or np.abs(value).max(initial=0.0) > np.finfo(np.float16).max:
        return value
    return value.astype(np.float16)


def save_weights(
    path: str | os.PathLike,
    variables: Mapping,
    config: Mapping,
    step: int,
    dtype: str = "float32",
    metrics: Mapping | None = None,
) -> None:
    """Writes the variables of `PalGAN` into one .safetensors file, whole or not at all.

    Args:
      variables: {"params", "batch_stats", "spectral"}, each a tree of arrays or left out.
      config: the config that the model was trained with, of types that JSON knows.
      dtype: "float32", or "float16" to store the parameters in half the space.
      metrics: figures to show with it, as `palgan info` does.

    Raises UserError for another ending, another dtype, or a place that cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UserError(f"weights are written to a file that ends in .safetensors, not to {path}.")
    if dtype not in ("float32", "float16"):
        raise UserError(f"weights can be stored as float32 or float16, not as {dtype}.")
    tensors = {}
    for name, value in _flatten({c: variables.get(c, {}) for c in COLLECTIONS}).items():
        value = np.ascontiguousarray(value, np.float32) if np.issubdtype(value.dtype, np.floating) else value
        tensors[name] = _to_half(name, value) if dtype == "float16" else value
    metadata = {
        "format": "palgan_jax",
        "format_version": str(FORMAT),
        "step": str(int(step)),
        "config": json.dumps(config),
        "metrics": json.dumps(dict(metrics or {})),
    }
    write_file(path, safetensors.numpy.save(tensors, metadata))


def load_weights(path: str | os.PathLike) -> dict:
    """Reads a file of `save_weights`; parameters come back as float32 numpy arrays whatever they are stored as.

    Returns {"variables": {"params", "batch_stats", "spectral"}, "config", "step", "metrics", "path"}.
    Raises UserError for a missing, broken or foreign file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"there are no weights at {path} ({'it is a folder' if path.is_dir() else 'no such file'}): check the path."
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != "palgan_jax":
                raise UserError(f"{path} is a safetensors file, but does not hold weights of palgan_jax: name another.")
            if int(metadata["format_version"]) > FORMAT:
                raise UserError(f"{path} was written by a newer version of palgan_jax: update the package to read it.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        config, metrics = json.loads(metadata["config"]), json.loads(metadata.get("metrics", "{}"))
        step = int(metadata["step"])
        if not isinstance(config, dict) or not isinstance(metrics, dict):
            raise ValueError("its config or its metrics are not named values")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a readable weights file ({error}): it may be truncated, get it again."
        ) from error
    floats = {n: v.astype(np.float32) if np.issubdtype(v.dtype, np.floating) else v for n, v in tensors.items()}
    variables = {**{collection: {} for collection in COLLECTIONS}, **_unflatten(floats)}
    return {"variables": variables, "config": config, "step": step, "metrics": metrics, "path": str(path)}


# ------------------------------------------------------------------------------------------------- what a user names


def find_weights(path: str | os.PathLike | None = None, step: int | str | None = None) -> dict:
    """The weights that `--checkpoint PATH` means.

    Args:
      path: a .safetensors file; a working directory, its checkpoints/ folder or one step's folder; or None for the
        weights that come with the package.
      step: which checkpoint of a directory: a number, "best", or None for the latest.

    Returns what `load_weights` returns, with "source" in words ("step 12000 of runs/a/checkpoints/12000").
    Raises UserError where nothing can be loaded: a model without weights would only paint gray.
    """
    if path is None:
        bundled = sorted(BUNDLED.glob("*.safetensors"))
        if not bundled:
            raise UserError(
                "no weights come with this installation: train some with `palgan train`, "
                "or name a .safetensors file or a working directory with --checkpoint."
            )
        found = load_weights(bundled[0])
        return {**found, "source": f"step {found['step']} of {bundled[0].name} (bundled)"}
    if str(path).endswith(".safetensors"):
        found = load_weights(path)
    else:
        # Orbax takes a moment to import and is not needed for a single file.
        from palgan_jax.checkpoint.saving import load_ema

        found = load_ema(path, step)
    return {**found, "source": f"step {found['step']} of {found['path']}"}


# -------------------------------------------------------------------------------------------------------- in words


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"


def _config_lines(config: Mapping) -> list[str]:
    """One line of `field=value` for the fields outside sections and one for each section."""
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


def describe(path: str | os.PathLike | None = None) -> str:
    """What `palgan info PATH` prints: step, size, parameters of each part, metrics, config. Errors: `find_weights`."""
    # clu imports JAX and Flax: only here, so that finding weights stays quick.
    from clu.parameter_overview import count_parameters

    found = find_weights(path)
    params = found["variables"]["params"]
    counts = {name: int(count_parameters(part)) for name, part in params.items() if isinstance(part, Mapping)}
    statistics = sum(v.size for v in _flatten({c: found["variables"].get(c, {}) for c in COLLECTIONS[1:]}).values())
    where = Path(found["path"])
    size = _megabytes(_size(where))
    if (where / "ema").is_dir():
        size += f", of it {_megabytes(_size(where / 'ema'))} EMA weights"
    lines = [f"checkpoint   {found['source']}", f"size         {size}", "parameters"]
    lines += [f"  {name:<24}{count:>12,}" for name, count in {**counts, "in all": sum(counts.values())}.items()]
    lines += [f"  {'(statistics)':<24}{statistics:>12,}"]
    if found["metrics"]:
        lines += ["metrics"]
        lines += [f"  {name:<24}{value:>12.4g}" for name, value in found["metrics"].items() if value is not None]
    return "\n".join([*lines, "config", *_config_lines(found["config"])])
