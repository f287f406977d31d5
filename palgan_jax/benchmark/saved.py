"""Figures that `--json` wrote, read again and set beside each other."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from palgan_jax.benchmark.report import COMPILED, RUN, table
from palgan_jax.errors import UserError, one_line

SPEED = "images_per_second_per_chip"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads the figures of a file: one row, or those of a sweep. Raises UserError for a file that holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content.get("rows", [content])
        if not all(isinstance(row["config"], str) and isinstance(row["setting"], dict) for row in rows):
            raise TypeError("a row has no config")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} holds no figures of palgan benchmark ({one_line(error)}): name a file that --json wrote."
        ) from error
    return rows


def compare(paths: Sequence[Path]) -> str:
    """Returns one table of the figures in several files; its last column is the speed as a multiple of the first."""
    rows = []
    for path in paths:
        for row in read_rows(path):
            overrides = [*row.get("overrides", ()), *(f"{k}={v}" for k, v in row["setting"].items() if k != "config")]
            device = row.get("topology") or row.get("device") or "-"
            labels = {"file": path.name, "config": row["config"], "changed": " ".join(overrides), "on": device}
            rows.append(row | {"setting": labels})
    first = next((row[SPEED] for row in rows if SPEED in row), None)
    rows = [row | {"times": row[SPEED] / first} if first and SPEED in row else row for row in rows]
    columns = dict.fromkeys((*RUN, *COMPILED, ("speed a chip", "times", "{:.2f} x")))
    return table(rows, list(columns))
