"""A page of runs: what they reached, how their configs differ, their curves side by side, their samples over time."""

import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from palgan_jax.metrics.catalogue import VARIANTS, find_metric, in_order
from palgan_jax.pages.chart import STYLE as CHARTS
from palgan_jax.pages.chart import chart
from palgan_jax.pages.grid import evenly
from palgan_jax.pages.html import document, figure, image
from palgan_jax.runs.read import Run

STYLE = (
    CHARTS
    + """
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem 1rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.wide { overflow-x: auto; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1.25rem; }
.sheets img { width: 100%; height: auto; border-radius: 6px; }
.sheets span { color: var(--faint); font-size: .85rem; }
"""
)
SHEETS = 4
"""Sample sheets of each run, at most: the first, the last, and some between them."""
SHEET_WIDTH = 1000
LEVELS = {"_gray": "gray", "_mean_ab": "mean color", "_mean_palette": "mean palette"}
"""What a model has to beat, drawn as levels beside its own curve."""


def page(runs: Sequence[Run]) -> str:
    """Returns the page as HTML, which fetches nothing."""
    title = "Training: " + ", ".join(run.name for run in runs)
    sections = [_section("Runs", _summary(runs))]
    if len(runs) > 1:
        sections.append(_section("Where their configs differ", _differences(runs)))
    sections.append(_section("Validation", _charts(runs, _validation(runs))))
    sections.append(_section("Training", _charts(runs, _other_metrics(runs))))
    sections += [_section(f"Samples of {run.name}", _sheets(run)) for run in runs if run.sheets]
    return document(title, [], "".join(sections), STYLE)


def _section(heading: str, body: str) -> str:
    return f"<section><h2>{html.escape(heading)}</h2>{body}</section>" if body else ""


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
    return f'<div class="wide"><table><tr>{cells}</tr>{lines}</table></div>'


def _summary(runs: Sequence[Run]) -> str:
    rows = [["run", "last step", "best step", "its value", "started from", "images a second"]]
    for run in runs:
        best, rates = run.best(), run.curve("images_per_second").values
        label = find_metric(run.config.get("best", "").removeprefix("val/")).label
        rows.append(
            [
                run.name,
                f"{run.last_step:,}",
                f"{best[0]:,}" if best else "-",
                f"{label} {figure(best[1])}" if best else "-",
                run.origin or "new weights",
                figure(float(np.median(rates))) if rates else "-",
            ]
        )
    return _table(rows)


def _differences(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(name for run in runs for name in run.config))
    values = {name: [run.config.get(name, "-") for run in runs] for name in names}
    rows = [[name, *map(str, row)] for name, row in values.items() if any(value != row[0] for value in row)]
    return _table([["field", *(run.name for run in runs)], *rows]) if rows else "<p>Nowhere.</p>"


def _names(runs: Sequence[Run]) -> set[str]:
    return {name for run in runs for row in run.rows for name, value in row.items() if isinstance(value, int | float)}


def _validation(runs: Sequence[Run]) -> list[str]:
    names = {name.removeprefix("val/") for name in _names(runs) if name.startswith("val/")}
    rivals = tuple(suffix for suffix in VARIANTS if suffix and suffix != "_truth_palette")
    return [f"val/{name}" for name in in_order({name for name in names if not name.endswith((*rivals, "_truth"))})]


def _other_metrics(runs: Sequence[Run]) -> list[str]:
    return sorted(name for name in _names(runs) if not name.startswith("val/") and name != "step")


def _charts(runs: Sequence[Run], names: Sequence[str]) -> str:
    charts = (chart(_title(name), [run.curve(name) for run in runs], _levels(runs[0], name)) for name in names)
    return f'<div class="charts">{body}</div>' if (body := "".join(charts)) else ""


def _title(name: str) -> str:
    if not name.startswith("val/"):
        return name
    row, suffix = find_metric(name.removeprefix("val/")), ", with the truth's palette"
    direction = "" if row.direction == "neither" else f", {row.direction} is better"
    return f"{row.label}{suffix if name.endswith('_truth_palette') else ''}{direction}"


def _levels(run: Run, name: str) -> list[tuple[str, float]]:
    """Returns what did without a model, or with one palette for all, at the last validation of a run."""
    if not name.startswith("val/"):
        return []
    curves = ((label, run.curve(f"{name}{suffix}").values) for suffix, label in LEVELS.items())
    levels = [(label, values[-1]) for label, values in curves if values]
    truth = run.curve(f"{name}_truth").values
    return [*levels, *([("truth", truth[-1])] if truth else [])]


def _sheets(run: Run) -> str:
    sheets = [run.sheets[i] for i in evenly(len(run.sheets), SHEETS)]
    pictures = (
        image(_read(path), f"step {step:,}", f"samples of {run.name} at step {step:,}") for step, path in sheets
    )
    return f'<div class="sheets">{"".join(pictures)}</div>'


def _read(path: Path) -> np.ndarray:
    with Image.open(io.BytesIO(path.read_bytes())) as sheet:
        sheet = sheet.convert("RGB")
        if sheet.width > SHEET_WIDTH:
            sheet = sheet.resize(
                (SHEET_WIDTH, round(sheet.height * SHEET_WIDTH / sheet.width)), Image.Resampling.LANCZOS
            )
        return np.asarray(sheet)
