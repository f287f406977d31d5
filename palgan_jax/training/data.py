"""The pictures of a training run, and what its log says of them."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import jax
from ml_collections import ConfigDict

from palgan_jax.data.protocols import Source
from palgan_jax.data.source import open_source
from palgan_jax.errors import UserError
from palgan_jax.util.files import make_folder, write_file
from palgan_jax.util.progress import ScanProgress

log = logging.getLogger(__name__)


def open_data(config: ConfigDict, kind: Literal["train", "val"], workdir: Path) -> Source:
    """Opens a run's pictures, scans those that are not in the index yet, and logs how many there are.

    Pictures next to gray are left out of "train" alone. Raises UserError where the config names no pictures, and as
    `open_source` does.
    """
    spec = config.data[kind]
    if not spec:
        raise UserError(f"--config.data.{kind} is empty: say where the photographs are, e.g. folder:/path/to/photos.")
    near_gray = config.data.near_gray if kind == "train" else 0.0
    source = open_source(
        spec, tfds_dir=config.data.tfds_dir or None, cache_dir=workdir / "data", near_gray=near_gray,
        max_unreadable=config.data.max_unreadable, progress=ScanProgress(spec, shown=jax.process_index() == 0),
    )  # fmt: skip
    log.info("%s", source.summary())
    _warn_of_change(source, workdir / "data" / f"{kind}.identity", kind)
    return source


def _warn_of_change(source: Source, file: Path, kind: str) -> None:
    """Warns if the pictures changed since the last start (which may be intended), and writes their identity to FILE."""
    if jax.process_index() > 0:
        return
    identity = source.identity()
    if file.exists() and file.read_text() != identity:
        log.warning(
            "the pictures of data.%s are not those of this run until now: its batches are others from here", kind
        )
    make_folder(file.parent)
    write_file(file, identity.encode())


class LostPictures:
    """Warns of each picture that cannot be read any more and was replaced by another, and lists it in a file.

    Each process has its own pictures and its own list: FOLDER/replaced.txt, replaced-1.txt and so on.
    """

    def __init__(self, folder: Path):
        number = f"-{jax.process_index()}" if jax.process_index() else ""
        self._file = folder / f"replaced{number}.txt"
        self._reported: set[str] = set()

    def report(self, replaced: Mapping[str, int]) -> None:
        """Warns of the pictures that are new in `replaced`: how often each was replaced since the start, by name."""
        new = sorted(replaced.keys() - self._reported)
        for name in new:
            log.warning("%s cannot be read any more; the next picture takes its place (%s)", name, self._file)
        if new:
            rows = [f"{name}\t{count}" for name, count in sorted(replaced.items())]
            head = "# picture, and how often another one took its place since the last start of the run"
            write_file(self._file, "\n".join([head, *rows, ""]).encode("utf-8", "surrogateescape"))
        self._reported.update(new)
