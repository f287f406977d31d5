"""Converts a set that tfds has prepared as TFRECORD files to ArrayRecord files beside them, without any archive.

The records are copied as they are, shard by shard. In the end `dataset_info.json` names both formats, in the field that
tfds has for that. The TFRECORD files are kept, and can be removed afterwards.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from palgan_jax.data.tfds_layout import ARRAY_RECORD, TFRECORD, Shard, shards
from palgan_jax.errors import UserError
from palgan_jax.prepare.dataset_info import read_info, write_info
from palgan_jax.prepare.room import need_room
from palgan_jax.prepare.verify import count_records
from palgan_jax.util.progress import Progress
from palgan_jax.util.text import in_words


def convert(folder: Path) -> None:
    """Writes the ArrayRecord files of a version folder; those that an earlier try has finished are kept.

    Raises:
      UserError: a TFRECORD file is missing, damaged or has too few or too many records; there is no room, or no right
        to write.
    """
    info = read_info(folder)
    old = [shard for split in shards(info, TFRECORD).values() for shard in split]
    new = [shard for split in shards(info, ARRAY_RECORD).values() for shard in split]
    missing = [shard.name for shard in old if not (folder / shard.name).is_file()]
    if missing:
        raise UserError(
            f"{folder} lacks {len(missing)} of its {len(old)} TFRECORD files, {missing[0]} among them: "
            "copy the set again."
        )
    todo = [(source, target) for source, target in zip(old, new, strict=True) if not _is_done(folder, target)]
    size = sum((folder / source.name).stat().st_size for source, _ in todo)
    need_room(folder, size, f"the ArrayRecord files take {in_words(size)}")
    with Progress("converting", len(old), done=len(old) - len(todo), unit="shard") as progress:
        for source, target in todo:
            _convert_shard(folder, source, target)
            progress.advance()
    formats = info.get("alternativeFileFormats", [])
    write_info(folder, info | {"alternativeFileFormats": [*formats, ARRAY_RECORD]})


def _is_done(folder: Path, shard: Shard) -> bool:
    return (folder / shard.name).is_file() and count_records(folder / shard.name) == shard.records


def _convert_shard(folder: Path, source: Shard, target: Shard) -> None:
    """Copies the records of one file, whole or not at all."""
    from tensorflow import errors
    from tensorflow_datasets.core import file_adapters

    unfinished = folder / f".{target.name}.unfinished"
    copied = 0

    def records() -> Iterator[tuple[int, Any]]:
        nonlocal copied
        for record in file_adapters.TfRecordFileAdapter.make_tf_data(str(folder / source.name)).as_numpy_iterator():
            yield copied, record
            copied += 1

    try:
        file_adapters.ArrayRecordFileAdapter.write_examples(unfinished, records())
        if copied == source.records:
            unfinished.replace(folder / target.name)
    except errors.OpError as error:
        raise UserError(f"{folder / source.name} cannot be read ({error.message}): copy it again.") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{folder / target.name} cannot be written ({error}): make room, or check the rights."
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    if copied != source.records:
        raise UserError(
            f"{folder / source.name} holds {copied:,} records and should hold {source.records:,}: copy it again."
        )
