"""What a run has left in its working directory: config, metrics, sample sheets."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palgan_jax.config import flatten
from palgan_jax.errors import UserError, one_line
from palgan_jax.metrics.catalogue import find_metric
from palgan_jax.pages.rows import Curve


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
      name: what it is called; the name of its folder where no other one has it.
      config: its fields by dotted names.
      rows: the lines of metrics.jsonl, each with "step".
      sheets: (step, file) of each sample sheet, by step.
      origin: the model that it started from; empty for one that began anew.
    """

    name: str
    config: dict[str, Any]
    rows: list[dict[str, Any]]
    sheets: list[tuple[int, Path]]
    origin: str = ""

    @property
    def last_step(self) -> int:
        """Returns the last step with metrics."""
        return max(row["step"] for row in self.rows)

    def curve(self, metric: str) -> Curve:
        """Returns a metric over the steps, under the name of the run."""
        rows = [row for row in self.rows if isinstance(row.get(metric), int | float)]
        return Curve(self.name, [row["step"] for row in rows], [row[metric] for row in rows])

    def best(self) -> tuple[int, float] | None:
        """Returns step and value where the metric that the run chooses its best checkpoint by was best, if any was."""
        name = self.config.get("best", "")
        curve = self.curve(name)
        pairs = [(step, value) for step, value in zip(curve.steps, curve.values, strict=True) if math.isfinite(value)]
        if not name or not pairs:
            return None
        sign = -1 if find_metric(name.removeprefix("val/")).direction == "lower" else 1
        step, value = max(pairs, key=lambda pair: (sign * pair[1], pair[0]))
        return int(step), value


def read_run(folder: Path, name: str) -> Run:
    """Reads the working directory of a run, also while it trains. Raises UserError where the folder is none."""
    try:
        config = flatten(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
        start = folder / "start.json"
        origin = str(json.loads(start.read_text(encoding="utf-8"))["source"]) if start.exists() else ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder} cannot be shown ({one_line(error)}): name the working directory of a run."
        ) from error
    rows = [row for row in map(_row, text.splitlines()) if row]
    if not rows:
        raise UserError(f"{folder} has no metrics yet: they come each --config.log_every.")
    matches = ((re.fullmatch(r"step_(\d+)\.png", path.name), path) for path in (folder / "sheets").glob("step_*.png"))
    sheets = sorted((int(match[1]), path) for match, path in matches if match)
    return Run(name, config, rows, sheets, origin)


def _row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        return row if isinstance(row["step"], int) else {}
    except (ValueError, KeyError, TypeError):  # a line that is being written
        return {}


def read_runs(folders: list[Path]) -> list[Run]:
    """Reads several runs; those whose folders have one name are called by their paths."""
    names = [folder.resolve().name for folder in folders]
    return [
        read_run(folder, name if names.count(name) == 1 else str(folder))
        for folder, name in zip(folders, names, strict=True)
    ]
