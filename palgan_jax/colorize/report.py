"""The report of a batch: one JSON file for programs, and one page with every picture before and after."""

import html
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from palgan_jax import __version__
from palgan_jax.colorize.large import open_large, reduced
from palgan_jax.colorize.pixel_budget import PixelBudget
from palgan_jax.data.decode import decode_picture
from palgan_jax.data.file_bytes import read_bytes
from palgan_jax.errors import UserError, one_line, printable
from palgan_jax.util.files import write_file
from palgan_jax.util.threads import available_cores, ordered_map

PICTURES_ON_PAGE = 200
_SIDE = 480
_GENERATOR = "palgan_jax colorize"
COLORIZED, DONE_BEFORE, LEFT_ASIDE, FAILED, NOT_DONE = "colorized", "done before", "left aside", "failed", "not done"


@dataclass(frozen=True)
class Line:
    """What became of a picture.

    Attributes:
      source: the picture.
      status: COLORIZED, DONE_BEFORE (by an earlier command), LEFT_ASIDE (it is a result itself), FAILED or NOT_DONE
        (the work was stopped before).
      result: its result, where there is one.
      error: why there is none.
      notes: sentences about what is left out.
      seconds: how long it took.
      width, height: the picture's size in pixels, where it is known.
      page: which of the pictures in the file, from 0 on, where all are colorized.
    """

    source: str
    status: str
    result: str | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()
    seconds: float | None = None
    width: int | None = None
    height: int | None = None
    page: int | None = None


def report_files(path: Path) -> tuple[Path, Path]:
    """Returns the paths of the JSON and of the page for a report that was named by either.

    Raises UserError where the name is neither's, and where a file is there that is no report of ours.
    """
    if path.suffix.lower() not in (".json", ".html"):
        raise UserError(f"{path} is no name for a report: let it end in .json or .html.")
    files = path.with_suffix(".json"), path.with_suffix(".html")
    for file in files:
        try:
            with file.open("rb") as content:
                is_ours = _GENERATOR.encode() in content.read(300)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UserError(f"{file} cannot be written ({one_line(error)}): name another report.") from error
        if not is_ours:
            raise UserError(f"{file} exists already and is no report: name another.")
    return files


def write_report(path: Path, lines: Sequence[Line], facts: Mapping[str, str | Sequence[str]]) -> None:
    """Writes the JSON and the page beside each other, over those of an earlier command.

    Args:
      path: the name of either.
      lines: the pictures.
      facts: what is told of all of them: texts, such as the checkpoint, and words of a command.

    Raises UserError where they cannot be written.
    """
    data, page = report_files(path)
    counts = {status: sum(line.status == status for line in lines) for status in dict.fromkeys(x.status for x in lines)}
    rows = [{key: value for key, value in vars(line).items() if value not in (None, ())} for line in lines]
    content = {"generator": _GENERATOR, "version": __version__, **facts, "counts": counts, "pictures": rows}
    write_file(data, json.dumps(content, indent=1).encode())
    write_file(page, _page(lines, facts, counts).encode("utf-8", "backslashreplace"))


def _page(lines: Sequence[Line], facts: Mapping[str, str | Sequence[str]], counts: dict[str, int]) -> str:
    from palgan_jax.pages.html import document  # few commands write a report

    shown = [line for line in lines if line.result]
    on_page = shown[:PICTURES_ON_PAGE]
    texts = {key: fact if isinstance(fact, str) else shlex.join(fact) for key, fact in facts.items()}
    notes = [printable(f"{key}: {text}") for key, text in texts.items() if text]
    notes.append(", ".join(f"{count} {status}" for status, count in counts.items()) or "no pictures")
    if len(shown) > len(on_page):
        notes.append(f"The first {len(on_page)} are shown here; all are in the JSON file beside this page.")
    cores = available_cores()
    cards = "".join(ordered_map(partial(_card, budget=PixelBudget()), on_page, workers=cores, ahead=2 * cores))
    body = f'<section aria-label="pictures"><h2>Before and after</h2><div class="cards">{cards}</div></section>'
    if failed := [line for line in lines if line.error]:
        items = "".join(f"<li>{html.escape(printable(line.error))}</li>" for line in failed)
        body += f'<section aria-label="failed"><h2>Not done</h2><ul>{items}</ul></section>'
    # The name comes first, since a page is told to be ours by its first bytes.
    return document("Colorized photographs", notes, body).replace(
        "<head>", f'<head><meta name="generator" content="{_GENERATOR}">', 1
    )


def _card(line: Line, budget: PixelBudget) -> str:
    from palgan_jax.pages.html import image

    name, result = printable(line.source), printable(line.result)
    name += "" if line.page is None else f" (page {line.page + 1})"
    images, pixels = [], (line.width or 0) * (line.height or 0)
    for path, page, label in ((line.source, line.page, "before"), (line.result or "", None, "after")):
        try:
            with budget.share(pixels):
                images.append(image(_small(path, page, pixels), label, f"{name}, {label}"))
        except UserError as error:
            images.append(f"<div><span>{label}</span>{html.escape(printable(error))}</div>")
    caption = f"{result}, {line.status}" + (f" in {line.seconds:.1f} s" if line.seconds is not None else "")
    details = "".join(f"<p>{html.escape(printable(note))}</p>" for note in line.notes)
    return (
        f'<figure class="card"><div class="pictures">{"".join(images)}</div>'
        f"<figcaption><h3>{html.escape(name)}</h3><p>{html.escape(caption)}</p>{details}</figcaption></figure>"
    )


def _small(path: str, page: int | None, pixels: int) -> np.ndarray:
    """Reads a picture of so many pixels, as it lies on white paper and small: uint8 (h, w, 3)."""
    with open_large(Path(path), page, pixels) as bands:
        if bands is not None:
            rgb = reduced(bands, _SIDE)
        else:
            options: dict[str, Any] = {"at_least": _SIDE // 2, "max_pixels": 1 << 62, "page": page}
            rgb = decode_picture(read_bytes(path), name=path, **options).on_white()
    picture = Image.fromarray(rgb)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return np.asarray(picture)
