"""The pictures of a training run: opened, looked at, and talked about in its log."""

import logging
from collections.abc import Mapping
from pathlib import Path

import jax
from ml_collections import ConfigDict

from palgan_jax.data.protocols import Source
from palgan_jax.data.source import open_source
from palgan_jax.errors import UserError
from palgan_jax.util.files import make_folder, write_file
from palgan_jax.util.progress import ScanProgress

log = logging.getLogger(__name__)


def open_data(config: ConfigDict, kind: str, near_gray: float, workdir: Path) -> Source:
    """Opens a run's pictures (`kind` is "train" or "val"), looks at those that are new, and says what there is.

    Raises UserError where none are named, and as `open_source` does.
    """
    spec = config.data[kind]
    if not spec:
        raise UserError(f"--config.data.{kind} is empty: say where the photographs are, e.g. folder:/path/to/photos.")
    source = open_source(
        spec, tfds_dir=config.data.tfds_dir or None, cache_dir=workdir / "data", near_gray=near_gray,
        max_unreadable=config.data.max_unreadable, progress=ScanProgress(spec, shown=jax.process_index() == 0),
    )  # fmt: skip
    log.info("%s", source.summary())
    _note_identity(source, workdir / "data" / f"{kind}.identity", kind)
    return source


def _note_identity(source: Source, file: Path, kind: str) -> None:
    """Says so where a run goes on with other pictures than it began with; which may well be wanted."""
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
    """Names in the log, and lists in FOLDER/replaced.txt, each picture that another one had to stand in for.

    Each process has its own pictures, so its own list: those beyond the first write replaced-1.txt and so on.
    """

    def __init__(self, folder: Path):
        number = f"-{jax.process_index()}" if jax.process_index() else ""
        self._file = folder / f"replaced{number}.txt"
        self._told: set[str] = set()

    def tell(self, replaced: Mapping[str, int]) -> None:
        """`replaced` says how often, by name, since the start; those that are new are named."""
        new = sorted(replaced.keys() - self._told)
        for name in new:
            log.warning("%s cannot be read any more; the next picture takes its place (%s)", name, self._file)
        if new:
            rows = [f"{name}\t{count}" for name, count in sorted(replaced.items())]
            head = "# since the last start: picture, how often another one stood in for it until this was written"
            write_file(self._file, "\n".join([head, *rows, ""]).encode("utf-8", "surrogateescape"))
        self._told.update(new)
