"""Makes ArrayRecord files from the archives with the set's own tfds builder, one split after the other.

The builder writes a whole set at once, and begins anew when it was interrupted. So each split is made in a folder of
its own, where a finished one stays, and all are put together at the end.
"""

import contextlib
import copy
import io
import logging
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from palgan_jax.data.tfds_layout import INFO
from palgan_jax.errors import UserError, one_line
from palgan_jax.prepare.archives import UsableArchive, unpack
from palgan_jax.prepare.dataset_info import find_prepared, read_info, write_info
from palgan_jax.prepare.sets import PictureSet, Split
from palgan_jax.util.progress import Progress

log = logging.getLogger(__name__)

_UNPACKED, _DOWNLOADS = "unpacked", "downloads"


def finished_splits(picture_set: PictureSet, workplace: Path) -> list[Split]:
    """Returns the splits that an earlier try has finished in this workplace."""
    return [split for split in picture_set.splits if find_prepared(workplace / split.name, picture_set.builder)]


def clear_unfinished(picture_set: PictureSet, workplace: Path) -> None:
    """Removes what an interrupted try has left, except finished splits and finished downloads."""
    finished = finished_splits(picture_set, workplace)
    for split in picture_set.splits:
        if split not in finished and (workplace / split.name).exists():
            shutil.rmtree(workplace / split.name)
    shutil.rmtree(workplace / _UNPACKED, ignore_errors=True)
    for beginning in (workplace / _DOWNLOADS).glob("*/*.tmp.*"):  # the name that tfds gives it
        shutil.rmtree(beginning)


def build_split(
    picture_set: PictureSet, split: Split, archives: dict[str, UsableArchive], manual_dir: Path, workplace: Path
) -> None:
    """Makes one split in a folder of the workplace, whole or not at all.

    Args:
      picture_set: the set of the split.
      split: the split to make.
      archives: the split's archives, by file name.
      manual_dir: the folder of the archives.
      workplace: a folder from which `clear_unfinished` has removed unfinished work; downloads go there, too.

    Raises:
      UserError: an archive cannot be downloaded, or holds what the builder cannot read.
    """
    import tensorflow_datasets as tfds

    folder, unpacked = workplace / split.name, workplace / _UNPACKED
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, extract_dir=unpacked)
    try:
        for archive in split.archives if picture_set.unpacked else ():
            if archives[archive.file].path is not None:
                unpack(archives[archive.file], unpacked)
        builder = _builder_of_one_split(picture_set, split, archives)(data_dir=folder)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints sizes that it does not know
            builder.download_and_prepare(
                download_dir=workplace / _DOWNLOADS,
                download_config=config,
                file_format=tfds.core.FileFormat.ARRAY_RECORD,
            )
    except Exception as error:  # whatever the builder, tarfile, zipfile, requests and TensorFlow raise
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(
            f"{picture_set.title} cannot be prepared, at its {split.name} ({one_line(error)}): "
            "get a damaged archive again, or mend what else it is, and give the same command again."
        ) from error
    shutil.rmtree(unpacked, ignore_errors=True)


def _builder_of_one_split(picture_set: PictureSet, split: Split, archives: dict[str, UsableArchive]) -> Any:
    """Returns a subclass of the set's builder that makes one split and shows how far it is.

    It overrides what the base class calls, in this order: `_split_generators`, which returns all splits and may
    download; `_generate_examples`, which reads; `_example_writer`, whose result writes.
    """
    import tensorflow_datasets as tfds

    name, _, config_name = picture_set.builder.partition("/")
    parent: Any = tfds.builder_cls(name)
    configs = [copy.copy(config) for config in parent.BUILDER_CONFIGS if config.name == config_name]
    for config in configs:
        config.splits = [entry for entry in config.splits if entry.name == split.name]
    downloads = any(archives[archive.file].path is None for archive in split.archives)
    members = archives[split.archives[0].file].members or split.pictures
    checksums = _checksums(parent.url_infos or {}, archives)

    class Builder(parent, skip_registration=True):  # type: ignore[call-arg]  # a parent that is not known here
        name = parent.name
        __module__ = parent.__module__
        BUILDER_CONFIGS = configs
        url_infos = checksums

        def _split_generators(self, dl_manager: Any) -> Any:
            # The bars of tfds are for downloads on a terminal only; ours show what comes after.
            (tfds.enable_progress_bar if downloads and sys.stderr.isatty() else tfds.disable_progress_bar)()
            if picture_set.unpacked:
                log.info("%s: %s", split.name, "downloading" if downloads else "comparing checksums")
            generators = super()._split_generators(dl_manager)
            tfds.disable_progress_bar()
            return [generator for generator in generators if generator.name == split.name]

        def _generate_examples(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
            self.generated = 0
            for key, example in _show_reading(super()._generate_examples(*args, **kwargs), split, members):
                self.generated += 1
                yield key, example

        def _example_writer(self) -> Any:
            return _CountingWriter(super()._example_writer(), split.name, lambda: self.generated)

    return Builder


def _show_reading(examples: Iterable[Any], split: Split, members: int) -> Iterator[Any]:
    """Yields the (key, example) pairs of a split, and counts the members of its first archive as they are read."""
    group = None
    with Progress(f"{split.name}: reading", members, unit="class" if split.group else "picture") as progress:
        for key, example in examples:
            if not split.group or example[split.group] != group:
                group = example[split.group] if split.group else None
                progress.advance()
            yield key, example


class _CountingWriter:
    """Shows how many of all records the writer of tfds has written.

    total: returns the number of records; called at the first of them, when all are known.
    """

    def __init__(self, writer: Any, split: str, total: Callable[[], int]):
        self._writer, self._split, self._total = writer, split, total
        self._progress: Progress | None = None

    def write(self, path: Any, examples: Iterable[Any]) -> Any:
        """Writes a shard as the writer of tfds does."""
        if self._progress is None:
            self._progress = Progress(f"{self._split}: writing", self._total(), unit="picture")
        return self._writer.write(path, self._counted(examples, self._progress))

    def _counted(self, examples: Iterable[Any], progress: Progress) -> Iterator[Any]:
        for example in examples:
            yield example
            progress.advance()


def _checksums(published: dict[str, Any], archives: dict[str, UsableArchive]) -> dict[str, Any]:
    """Returns the checksums by which tfds judges the archives: the published ones, by address.

    An archive of another size than the published one, of which `log_archives` has warned, gets its own checksum.
    """
    from tensorflow_datasets.core.download.checksums import compute_url_info

    from_files = {
        entry.archive.url: compute_url_info(entry.path)
        for entry in archives.values()
        if entry.path is not None and entry.archive.url and entry.size != entry.archive.size
    }
    return {**published, **from_files}


def put_together(picture_set: PictureSet, splits: Sequence[Split], workplace: Path, data_dir: Path) -> Path:
    """Makes one set of the finished splits in the workplace; returns its version folder under `data_dir`.

    It may be interrupted at any place and called again: a split's own `dataset_info.json` stays until the end.
    """
    parts = [find_prepared(workplace / split.name, picture_set.builder) for split in splits]
    set_folder = workplace / "whole"
    set_folder.mkdir(exist_ok=True)
    infos = []
    for part in parts:
        assert part is not None, "put_together needs finished splits"
        infos.append(read_info(part))
        for file in part.iterdir():
            if file.name != INFO:
                file.replace(set_folder / file.name)
    info = infos[0] | {"splits": [entry for split_info in infos for entry in split_info["splits"]]}
    write_info(set_folder, info)
    target = data_dir / picture_set.builder / info["version"]
    try:
        set_folder.rename(target)
    except OSError as error:
        raise UserError(
            f"{target} cannot be made ({one_line(error)}): move what is there, and give the same command again."
        ) from error
    return target
