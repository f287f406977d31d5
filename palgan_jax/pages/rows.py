"""What a contact sheet shows: pictures, curves, and who made the pictures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from palgan_jax.palette.palette import Palette


@dataclass(frozen=True)
class Row:
    """One picture of a sheet.

    Attributes:
      name: what the picture is called.
      gray: the input, uint8 (H, W) or (H, W, 3).
      painted: the picture as colorized, uint8 (H, W, 3), by the name of what colorized it; the same names in all rows.
      truth: the picture as taken, uint8 (H, W, 3); None where nobody knows.
      palette: the predicted palette; None draws none.
      caption: one line on the picture: figures, a remark.
      credit: author and license, shown on the web page.
    """

    name: str
    gray: np.ndarray
    painted: Mapping[str, np.ndarray]
    truth: np.ndarray | None = None
    palette: Palette | None = None
    caption: str = ""
    credit: str = ""


@dataclass(frozen=True)
class Curve:
    """A training curve for the web page: one value at each of some steps.

    Attributes:
      name: what is drawn, with its unit.
      steps: training steps, rising.
      values: as many values; those that are not finite are left out.
      levels: (name, value) of what the values are to be judged by, such as other systems.
    """

    name: str
    steps: Sequence[float] = field(default_factory=list)
    values: Sequence[float] = field(default_factory=list)
    levels: Sequence[tuple[str, float]] = ()


def read_credits(attribution: Path) -> dict[str, str]:
    """Reads author and license by file name from an ATTRIBUTION.md, a Markdown table of file, author and license.

    Returns an empty dictionary where there is no such file.
    """
    if not attribution.is_file():
        return {}
    table = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for line in attribution.read_text(encoding="utf-8").splitlines()
        if line.lstrip().startswith("|")
    ]
    if not table or not {"file", "author", "license"} <= set(table[0]):
        return {}
    file, author, license = (table[0].index(column) for column in ("file", "author", "license"))
    # The address in brackets behind an author's name is too long for a caption.
    return {
        cells[file]: f"{re.sub(r' *[(].*[)]', '', cells[author])}, {cells[license]}"
        for cells in table[2:]
        if len(cells) == len(table[0])
    }
