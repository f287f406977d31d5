"""`palgan data inspect SOURCE`: describes a set of pictures in numbers and draws a sheet of them."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from palgan_jax.config import default_config
from palgan_jax.data.decode import quiet_pillow
from palgan_jax.data.mixture import MixtureSource
from palgan_jax.data.protocols import Source
from palgan_jax.data.source import StoredSource, open_source
from palgan_jax.errors import UserError
from palgan_jax.pages.grid import Section, draw_grid, evenly
from palgan_jax.util.files import cache_folder, make_folder, write_file
from palgan_jax.util.progress import ScanProgress
from palgan_jax.util.text import in_words

SMALL = 256
"""Pictures with a shorter side than this are enlarged in training at that resolution."""
SPREAD, EXTREMES = 48, 12
NAMED = 20
_CELL = 128
_MARK = b"palgan data inspect"
"""The comment in each sheet, by which a later call knows that it may replace it."""


@dataclass(frozen=True)
class Inspection:
    """The results of `inspect`: lines for people, and the path of the sheet."""

    lines: tuple[str, ...]
    sheet: Path


def inspect(spec: str, output: str | Path = ".", *, tfds_dir: str | Path | None = None) -> Inspection:
    """Opens a set of pictures as training would, describes it, and draws OUTPUT/NAME-sheet.jpg.

    Any share of pictures may be unreadable. Raises UserError as `open_source` does otherwise, and where the sheet
    cannot be written or would replace another picture.
    """
    near_gray = default_config().data.near_gray
    source = open_source(
        spec, tfds_dir=tfds_dir, cache_dir=_cache(), near_gray=near_gray, progress=ScanProgress(spec)
    )  # fmt: skip
    sheet = Path(output) / f"{_title(source)}-sheet.jpg"
    if sheet.exists() and not _is_ours(sheet):
        raise UserError(f"{sheet} is there already and is no sheet of a set: name another folder with --output.")
    facts = describe(source)
    make_folder(sheet.parent)
    write_file(sheet, _jpeg(draw_sheet(source, facts)))
    lines = [source.summary(), *facts, f"sheet: {sheet}", *_unreadable_lines(source)]
    return Inspection(tuple(lines), sheet)


def describe(source: Source) -> list[str]:
    """Returns lines about a set, without decoding anything."""
    sizes, shorter_sides = source.sizes, source.sizes.min(axis=1)
    order = np.argsort(sizes.astype(np.int64).prod(axis=1), kind="stable")
    smallest, median, largest = (_by(sizes[order[k]]) for k in (0, len(order) // 2, -1))
    small = int((shorter_sides < SMALL).sum())
    total = int(source.file_bytes.sum())
    lines = [
        "{found} found, {used} used, {near_gray} next to gray, {unreadable} unreadable".format(**source.counts),
        f"sizes: smallest {smallest}, median {median}, largest {largest}, "
        f"{small} ({small / len(source):.1%}) with a side under {SMALL}",
        f"files: {in_words(total, 1)}, {in_words(total / len(source), 1)} a picture",
    ]
    if len(color := colorfulness(source)):
        low, *quartiles, high = (f"{value:.1f}" for value in np.quantile(color, (0, 0.25, 0.5, 0.75, 1)))
        lines.append(f"colorfulness: from {low} to {high}, quartiles {', '.join(quartiles)}")
    lines.append(f"identity: {source.identity()}")
    for part in _parts(source):
        if isinstance(part, StoredSource):
            lines.append(f"index: {part.index_file or 'kept nowhere, as no folder for it can be written to'}")
    return lines


def colorfulness(source: Source) -> np.ndarray:
    """Returns Hasler and Süsstrunk's colorfulness of each picture's thumbnail, float32 (N,).

    It is empty where some of the pictures have not been measured, as synthetic ones.
    """
    parts = [part.colorfulness for part in _parts(source) if isinstance(part, StoredSource)]
    return np.concatenate(parts) if sum(map(len, parts)) == len(source) else np.zeros(0, np.float32)


def draw_sheet(source: Source, notes: Sequence[str]) -> np.ndarray:
    """Draws 48 pictures spread evenly over the set, and the least and the most colorful ones: uint8 (H, W, 3)."""
    spread = evenly(len(source), SPREAD)
    sections = [Section("evenly over the set", _read(source, spread))]
    if len(color := colorfulness(source)):
        order = np.argsort(color, kind="stable")
        sections.append(Section("the least colorful", _read(source, order[:EXTREMES])))
        sections.append(Section("the most colorful", _read(source, order[::-1][:EXTREMES])))
    return draw_grid(sections, source.name, notes, cell=_CELL)


def _read(source: Source, numbers: Iterable[int]) -> list[tuple[str, np.ndarray]]:
    """Returns name and pixels of some pictures, without those that cannot be read any more."""
    pictures = []
    for i in map(int, numbers):
        try:
            rgb = source.read(i, at_least=_CELL)
        except UserError:
            continue
        pictures.append((PurePosixPath(source.picture_name(i)).name, rgb))
    return pictures


def _parts(source: Source) -> tuple[Source, ...]:
    return source.sources if isinstance(source, MixtureSource) else (source,)


def _title(source: Source) -> str:
    return "-".join(part.pictures.title if isinstance(part, StoredSource) else "synthetic" for part in _parts(source))


def _unreadable_lines(source: Source) -> list[str]:
    lines = []
    for part in _parts(source):
        if not isinstance(part, StoredSource) or not part.unreadable:
            continue
        lines.append(f"unreadable pictures of {part.name}:")
        lines += [f"  {name}: {reason}" for name, reason in part.unreadable[:NAMED]]
        if (more := len(part.unreadable) - NAMED) > 0:
            lines.append(f"  and {more} more")
        if part.report is not None:
            lines.append(f"  all of them: {part.report}")
    return lines


def _by(size: np.ndarray) -> str:
    return f"{size[0]} x {size[1]}"


def _cache() -> Path | None:
    try:
        return cache_folder() / "data"
    except UserError:  # without a home folder, the index is kept beside the pictures or not at all
        return None


def _jpeg(rgb: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(rgb).save(content, "JPEG", quality=90, comment=_MARK)
    return content.getvalue()


def _is_ours(path: Path) -> bool:
    try:
        with quiet_pillow, Image.open(path) as picture:
            return picture.info.get("comment") == _MARK
    except (OSError, SyntaxError):
        return False
