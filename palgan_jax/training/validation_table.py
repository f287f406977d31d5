"""The results of a validation as a small table, with rivals beside the model."""

from collections.abc import Mapping

from palgan_jax.metrics.catalogue import find_metric, in_order
from palgan_jax.util.text import aligned

RIVALS = {
    "_gray": "gray",
    "_mean_ab": "mean color",
    "_mean_palette": "mean palette",
    "_truth_palette": "true palette",
}
"""Suffix of a metric's name -> the column of what it was measured of: no color, the training set's mean color; the
model with the training set's mean palette, and with the truth's."""


def validation_table(
    step: int, metrics: Mapping[str, float], best: tuple[int, Mapping[str, float | None]] | None
) -> str:
    """Returns a table of what was measured at a step, by names such as "val/psnr_gray", in rows of metrics.

    `best` is the best step until then and its results, which get a column.
    """
    values = {name.removeprefix("val/"): value for name, value in metrics.items()}
    names = in_order([name for name in values if not name.endswith((*RIVALS, "_median_palette", "_truth"))])
    columns = [suffix for suffix in RIVALS if any(f"{name}{suffix}" in values for name in names)]
    head = [
        f"step {step:,}",
        "ours",
        *([f"best, {best[0]:,}"] if best else []),
        *(RIVALS[suffix] for suffix in columns),
    ]
    rows = [head]
    for name in names:
        row = find_metric(name)
        cells = [values[name], *([best[1].get(f"val/{name}")] if best else [])]
        cells += [values.get(f"{name}{suffix}") for suffix in columns]
        direction = "" if row.direction == "neither" else f", {row.direction} is better"
        truth = values.get(f"{name}_truth")
        aim = "" if truth is None else f", {truth:.{row.decimals}f} in truth"
        rows.append([f"{row.label}{direction}{aim}", *("" if x is None else f"{x:.{row.decimals}f}" for x in cells)])
    return aligned(rows)
