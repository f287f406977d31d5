"""The model card of published weights: README.md with a head in YAML, from what stands beside the weights."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.errors import printable
from palgan_jax.metrics.catalogue import METRICS, in_order
from palgan_jax.pretrained.origins import ORIGINS
from palgan_jax.training.validation_table import RIVALS
from palgan_jax.util.trees import flatten

MARK = "<!-- Written by palgan push, which writes it anew until this line is removed. -->"
_TAGS = ("image-colorization", "palgan", "jax", "flax")


def model_card(weights: Weights, repository: str, license: str | None, with_onnx: bool) -> str:
    """Returns the card of a model that is published as OWNER/NAME, with or without model.onnx."""
    from huggingface_hub import EvalResult, ModelCardData

    scores = _measured(weights.metrics)
    validation = weights.config.get("data", {}).get("val") or "pictures kept aside"
    results = [
        EvalResult(
            task_type="image-to-image",
            task_name="Colorization",
            dataset_type=validation,
            dataset_name=validation,
            metric_type=name,
            metric_name=METRICS[name].label,
            metric_value=round(value, 6),
        )
        for name, value in scores.items()
    ]
    head = ModelCardData(
        license=license,
        library_name="palgan_jax",
        pipeline_tag="image-to-image",
        tags=[*_TAGS, *(["onnx"] if with_onnx else [])],
        metrics=list(scores) or None,
        model_name=repository.partition("/")[2] if results else None,
        eval_results=results or None,
    )
    parts = [f"---\n{head.to_yaml()}\n---", MARK, *_use(weights, repository, with_onnx), *_facts(weights)]
    if scores:
        table = _table(weights.metrics, scores)
        command = "export" if weights.averaged else "train"
        parts += ["## Results", f"Measured on `{printable(validation)}` by `palgan {command}`.", table]
    if origin := ORIGINS.get(weights.config.get("net", {}).get("encoder")):
        parts += ["## The encoder", origin]
    parts += [
        "## Limits",
        "The colors are plausible guesses and no record of what was there. They are best for photographs that are like "
        "those that the model was trained on.",
    ]
    return "\n\n".join(parts) + "\n"


def _use(weights: Weights, repository: str, with_onnx: bool) -> list[str]:
    purpose = ": a palette is predicted, or given by you, and the photograph is painted with it"
    purpose = purpose if weights.config.get("model") == "palgan" else ""
    parts = [
        f"# {repository.partition('/')[2]}",
        f"Colorizes gray photographs{purpose} (PalGAN; Wang et al., ECCV 2022).",
        "## Use",
        f"With palgan_jax and its extra `hub`:\n\n```\npalgan colorize old --output colored "
        f"--checkpoint hf:{repository}\n```",
        f'```python\nfrom palgan_jax import Colorizer\n\ncolorizer = Colorizer.load("hf:{repository}")\n'
        'colorizer("old.jpg").save("colored.png")\n```',
    ]
    if with_onnx:
        parts.append(
            "`model.onnx` is the same model for ONNX Runtime: `lightness` (batch, 1, R, R), L in [0, 100], and "
            "`palette` (batch, K), zeros for the predicted one, give `ab` (batch, 2, R, R), a and b of Lab, and "
            "`used_palette`."
        )
    return parts


def _facts(weights: Weights) -> list[str]:
    config = weights.config
    params = flatten(weights.variables["params"])
    rows = {
        "kind": config.get("model"),
        "resolution of the network": config.get("resolution"),
        "encoder": config.get("net", {}).get("encoder"),
        "width": config.get("net", {}).get("width"),
        "parameters": f"{sum(np.size(array) for array in params.values()):,}",
        "trained for": f"{weights.step:,} steps of {config.get('batch_size')} pictures",
        "weights": weights.origin,
        "trained on": config.get("data", {}).get("train") or None,
    }
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items() if value is not None]
    return ["## The model", "\n".join(["| | |", "|---|---|", *lines])]


def _measured(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Returns the results that are better or worse, by the names of their metrics in the order of the catalogue."""
    values = {name.removeprefix("val/"): value for name, value in metrics.items() if value is not None}
    names = in_order([name for name in values if name in METRICS and METRICS[name].direction != "neither"])
    return {name: float(values[name]) for name in names}


def _table(metrics: Mapping[str, float | None], scores: Mapping[str, float]) -> str:
    """Returns a table of the results, with those of the rivals that were measured beside them."""
    columns = [suffix for suffix in RIVALS if any(f"val/{name}{suffix}" in metrics for name in scores)]
    rows = [["", "this model", *(RIVALS[suffix] for suffix in columns)], ["---"] * (2 + len(columns))]
    for name, value in scores.items():
        row = METRICS[name]
        rivals = [metrics.get(f"val/{name}{suffix}") for suffix in columns]
        numbers = ["" if x is None else f"{x:.{row.decimals}f}" for x in (value, *rivals)]
        rows.append([f"{row.label}, {row.direction} is better", *numbers])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(value: Any) -> str:
    """Returns a value for a cell of a table in Markdown."""
    return re.sub(r"([|`<])", r"\\\1", printable(value))
