"""docs/reliability.md: one row a fault, with what became of it the last time."""

import os
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jax

from tests.faults.fault import FAULTS

HEAD = """# Reliability

What is done to runs on purpose, and what became of it. `make faults` does all of it, with real processes at a tiny size
(64 x 64 pixels, a sixteenth of the width, ten photographs), and writes this page; `make test` does some of each.
A few: `python -m tests.faults --only WORDS --share 0.1`. With every fault, the suite asks for one sentence, the right
exit code, and no line of a library's in front of it.

| what happens | times | promised | outcome | machine | date |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """What became of a fault."""

    name: str
    times: int
    promise: str
    outcome: str

    def line(self) -> str:
        machine = f"{os.cpu_count()} cores, {platform.system()}, JAX {jax.__version__}"
        cells = (self.name, str(self.times), self.promise, self.outcome, machine, f"{datetime.now(UTC):%Y-%m-%d}")
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def write_page(path: Path, row: Row) -> None:
    """Puts a row in the place of the one of the same fault; other faults keep theirs, or have one that says so."""
    text = path.read_text() if path.exists() else ""
    known_rows = {match[1]: match[0] for match in re.finditer(r"^\| (.+?) \| [1-9].*$", text, re.MULTILINE)}
    known_rows[row.name] = row.line()
    lines = (
        known_rows.get(name, f"| {name} | 0 | {fault.promise} | not done yet | | |") for name, fault in FAULTS.items()
    )
    path.write_text(HEAD + "".join(f"{line}\n" for line in lines))
