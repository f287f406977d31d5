"""What the comparisons over a folder of photographs share: which are measured, their means, and how figures are told.

Neither JAX nor the package is imported here, since some comparisons measure in processes of their own.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def photographs(folder: Path, every: int) -> list[Path]:
    """Returns every so many-th photograph of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))[::every]


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Returns the number of photographs, and the mean of each figure over their rows."""
    return {"photographs": len(rows), **{name: float(np.mean([row[name] for row in rows])) for name in rows[0]}}


def half_interval(differences: np.ndarray) -> np.ndarray:
    """Returns half of the 95 % interval of the means of differences (N, ...): (...)."""
    return 1.96 * np.std(differences, axis=0) / len(differences) ** 0.5


def tell(figures: Mapping[str, Any], width: int, file: Path | None, hidden: Collection[str] = ()) -> None:
    """Prints figures behind their names, but for the hidden ones, and writes all to a file of JSON if one is named."""
    for name, value in figures.items():
        if name not in hidden:
            print(f"{name:{width}}{value:.3f}" if isinstance(value, float) else f"{name:{width}}{value}")
    if file:
        file.write_text(json.dumps(figures, indent=1))
