"""Checks whether a prepared set holds what it should, and whether that is the whole of the published set."""

import logging
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordReader

from palgan_jax.data.array_record import RecordPictures
from palgan_jax.data.decode import decode_rgb
from palgan_jax.data.spec import TfdsFolderSpec
from palgan_jax.data.tfds_layout import ARRAY_RECORD, Shard, find_split, shards
from palgan_jax.errors import UserError
from palgan_jax.prepare.dataset_info import read_info
from palgan_jax.prepare.sets import PictureSet
from palgan_jax.util.progress import Progress

log = logging.getLogger(__name__)


def verify(folder: Path, picture_set: PictureSet) -> None:
    """Counts the records of all shards, and decodes the first, the middle and the last picture of each.

    Logs a line for each split. Reads the set as training does, without TensorFlow.

    Raises:
      UserError: a shard is missing or damaged, or has more or fewer records than `dataset_info.json` says.
    """
    splits = shards(read_info(folder), ARRAY_RECORD)
    problems: list[str] = []
    with Progress("checking", sum(map(len, splits.values())), unit="shard") as progress:
        for name, files in splits.items():
            pictures = RecordPictures(find_split(TfdsFolderSpec(str(folder), name)))
            first = 0
            for shard in files:
                _check_shard(folder, shard)
                sample = {0, shard.records // 2, shard.records - 1} if shard.records else set()
                problems += [problem for n in sorted(sample) if (problem := _problem(pictures, first + n))]
                first += shard.records
                progress.advance()
    for name, files in splits.items():
        _log_split(picture_set, name, sum(shard.records for shard in files), len(files))
    if grouped := [shard.name for files in splits.values() for shard in files if not _single(folder / shard.name)]:
        log.warning("%s was not written with group_size:1: reading one of its records reads more of them", grouped[0])
    if problems:
        log.warning("%d of the pictures that were checked cannot be decoded, such as: %s", len(problems), problems[0])


def _check_shard(folder: Path, shard: Shard) -> None:
    """Raises UserError where a shard is damaged or has more or fewer records than it should."""
    count = count_records(folder / shard.name)
    if count != shard.records:
        problem = "is damaged" if count < 0 else f"holds {count:,} records, not {shard.records:,}"
        raise UserError(f"{folder / shard.name} {problem}: remove the folder and prepare the set again.")


def _single(path: Path) -> bool:
    """Returns True where each record was stored alone, so that any of them is read without others."""
    reader = ArrayRecordReader(str(path))
    try:
        return "group_size:1," in f"{reader.writer_options_string()},"
    finally:
        reader.close()


def _problem(pictures: RecordPictures, i: int) -> str:
    """Returns why a picture cannot be decoded, "" if it can. Raises UserError where its record cannot be read."""
    name, data = pictures.load(i)
    try:
        decode_rgb(data, name=f"{pictures.label(i)} ({name})")
    except UserError as error:
        return str(error)
    return ""


def count_records(path: Path) -> int:
    """Returns the number of records of an ArrayRecord file; -1 where it is damaged."""
    try:
        reader = ArrayRecordReader(str(path))
        count = reader.num_records()
        reader.close()
    except (RuntimeError, ValueError):
        return -1
    return count


def _log_split(picture_set: PictureSet, split: str, records: int, files: int) -> None:
    """Logs the number of pictures of a split, with a warning if it is not the published one."""
    published = {split.name: split.pictures for split in picture_set.splits}.get(split, records)
    line = f"{picture_set.builder} {split}: {records:,} pictures in {files:,} shard{'s' * (files != 1)}"
    if records == published:
        log.info("%s", line)
    else:
        log.warning("%s, not %s: this is not the whole of %s", line, f"{published:,}", picture_set.title)
