"""Finds a set that tensorflow_datasets prepared in a folder or bucket, with its shards and features.

Reads `dataset_info.json` and `features.json`; needs neither TensorFlow nor tensorflow_datasets.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from palgan_jax.data.spec import TfdsFolderSpec, TfdsSpec
from palgan_jax.errors import UserError, one_line

INFO, FEATURES = "dataset_info.json", "features.json"
ARRAY_RECORD, TFRECORD = "array_record", "tfrecord"
_PREPARED_HERE = {"imagenet2012": "imagenet", "coco": "coco"}  # their names in `palgan prepare`
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_FILE_NAME = re.compile(r"(?:^|[/_])file_?name$|(?:^|[/_])file_?path$")


@dataclass(frozen=True)
class Shard:
    """One file of a split."""

    name: str
    records: int
    file_bytes: int = 0
    changed: str = ""  # time or version of the last change; empty where the storage does not tell


@dataclass(frozen=True)
class PreparedSplit:
    """Where the pictures of a split are, and by which names."""

    folder: str  # of the version: a path or an address
    remote: bool
    split: str
    title: str  # e.g. coco-2017-1.1.0-train
    shards: tuple[Shard, ...]
    picture_key: str  # the feature that holds the encoded picture
    name_key: str | None  # the feature that holds its file's name


def find_split(spec: TfdsSpec | TfdsFolderSpec, tfds_dir: str | None = None) -> PreparedSplit:
    """Finds a prepared split.

    Args:
      spec: names the split.
      tfds_dir: the folder of sets that are named without a path; None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.

    Raises:
      UserError: there is no such set, version or split (says what there is instead); it is not ArrayRecord; its records
        do not have exactly one picture; a shard is missing.
    """
    if isinstance(spec, TfdsFolderSpec):
        place = _Place(spec.path)
    else:
        place = _version_of(spec, _Place(tfds_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"))
    info, features = _read(place, INFO), _read(place, FEATURES)
    try:
        title = "-".join([info["name"], *([info["configName"]] if info.get("configName") else []), info["version"]])
        expected = _shards_of_split(place, info, spec.split)
        picture_key, name_key = _keys(place, features)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{place} is described in a way that cannot be read ({error!r}): prepare it again.") from error
    files = place.files()
    missing = [shard.name for shard in expected if shard.name not in files]
    if missing:
        raise UserError(
            f"{place} lacks {len(missing)} of the {len(expected)} files of its split {spec.split}, "
            f"{missing[0]} among them: copy or prepare the set again."
        )
    return PreparedSplit(
        folder=str(place),
        remote=place.remote,
        split=spec.split,
        title=f"{title}-{spec.split}",
        shards=tuple(Shard(shard.name, shard.records, *files[shard.name]) for shard in expected),
        picture_key=picture_key,
        name_key=name_key,
    )


def _shards_of_split(place: "_Place", info: Mapping[str, Any], split: str) -> list[Shard]:
    """Returns the ArrayRecord files of a split. Raises UserError where the set has no such split or no such files."""
    splits = shards(info, ARRAY_RECORD)
    if split not in splits:
        raise UserError(f"{place} has no split {split!r}: name one of {', '.join(sorted(splits))} behind an @.")
    if ARRAY_RECORD not in formats(info):
        raise UserError(
            f"{place} holds {formats(info)[0]} files, of which no picture can be read alone: "
            + _how_to_convert(info["name"])
        )
    return splits[split]


def _keys(place: "_Place", features: Mapping[str, Any]) -> tuple[str, str | None]:
    """Returns the names of the features that hold the picture and, if there is one, the name of its file.

    Raises UserError where a record does not have exactly one picture.
    """
    leaves = _leaves(features)
    pictures = [name for name, kind in leaves if kind == "Image"]
    if len(pictures) != 1:
        raise UserError(
            f"{place} has {len(pictures)} pictures a record ({', '.join(pictures) or 'none'}): take a set with one."
        )
    return pictures[0], next((name for name, kind in leaves if kind == "Text" and _FILE_NAME.search(name)), None)


def formats(info: Mapping[str, Any]) -> list[str]:
    """Returns the formats that a set has files of; sets older than these fields have TFRECORD files."""
    return [info.get("fileFormat") or TFRECORD, *info.get("alternativeFileFormats", [])]


def shards(info: Mapping[str, Any], file_format: str) -> dict[str, list[Shard]]:
    """Returns the files of each split in one of the formats, in the order of the records."""
    splits = {}
    for split in info["splits"]:
        lengths = [int(length) for length in split.get("shardLengths", [])]
        template = split.get("filepathTemplate") or "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        splits[split["name"]] = [
            Shard(_fill(template, info["name"], split["name"], file_format, number, len(lengths)), length)
            for number, length in enumerate(lengths)
        ]
    return splits


def _fill(template: str, dataset: str, split: str, file_format: str, number: int, count: int) -> str:
    """Fills in the template of a shard's file name."""
    values = {
        "DATASET": dataset,
        "SPLIT": split,
        "FILEFORMAT": file_format,
        "SHARD_INDEX": f"{number:05d}",
        "NUM_SHARDS": f"{count:05d}",
        "SHARD_X_OF_Y": f"{number:05d}-of-{count:05d}",
    }
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], template)


def _how_to_convert(name: str) -> str:
    if set_name := _PREPARED_HERE.get(name):
        return f"`palgan prepare {set_name}` makes ArrayRecord files of them."
    return 'prepare the set again with tensorflow_datasets and file_format="array_record".'


def _leaves(features: Mapping[str, Any], prefix: str = "") -> "list[tuple[str, str]]":
    """Returns (name, kind) of every feature that a record has once; the names of nested ones are joined with /."""
    kind = features["pythonClassName"].rpartition(".")[2]
    if "featuresDict" not in features:
        return [(prefix, kind)]
    inner = features["featuresDict"]["features"].items()
    return [leaf for name, feature in inner for leaf in _leaves(feature, f"{prefix}/{name}" if prefix else name)]


# ---------------------------------------------------------------- folders and buckets


class _Place:
    """A folder or an address such as gs://bucket/folder."""

    def __init__(self, address: str):
        import fsspec

        self.remote = "://" in address
        self._address = address.rstrip("/") if self.remote else os.path.expanduser(address)  # noqa: PTH111
        try:
            self._files, self._path = fsspec.core.url_to_fs(self._address)
        except ImportError as error:
            raise UserError(
                f"{address} cannot be opened ({one_line(error)}): pip install -e '.[gcs]' for gs://."
            ) from error
        except ValueError as error:
            raise UserError(
                f"{address} is at no place that can be read ({one_line(error)}): name a folder or gs://BUCKET/FOLDER."
            ) from error

    def __str__(self) -> str:
        return self._address

    def __truediv__(self, name: str) -> "_Place":
        return _Place(f"{self._address}/{name}")

    def read(self, name: str) -> bytes:
        """Returns the content of a file. Raises OSError where it cannot be read."""
        return self._files.cat_file(f"{self._path}/{name}")

    def _list(self) -> list[dict[str, Any]]:
        try:
            return self._files.ls(self._path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def files(self) -> dict[str, tuple[int, str]]:
        """Returns (bytes, `_changed`) of each file, by name."""
        entries = (entry for entry in self._list() if entry["type"] != "directory")
        return {_last(entry["name"]): (int(entry["size"] or 0), _changed(entry)) for entry in entries}

    def folders(self) -> list[str]:
        """Returns the names of the folders, sorted."""
        return sorted(_last(entry["name"]) for entry in self._list() if entry["type"] == "directory")


def _changed(entry: Mapping[str, Any]) -> str:
    """Returns the first field of an entry of fsspec's listing that changes whenever the file is written; "" if none."""
    # Each kind of storage has a name of its own for it.
    return next((str(entry[key]) for key in ("generation", "etag", "ETag", "mtime", "updated") if entry.get(key)), "")


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _read(place: _Place, name: str) -> Any:
    """Returns the content of a JSON file of a version folder. Raises UserError where it cannot be read."""
    try:
        return json.loads(place.read(name))
    except FileNotFoundError:
        raise UserError(
            f"{place} has no {name}: name the version folder of a set that tensorflow_datasets prepared, "
            "e.g. tfds:/data/coco/2017/1.1.0."
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{place}/{name} cannot be read ({one_line(error)}): prepare the set again.") from error


def _version_of(spec: TfdsSpec, data_dir: _Place) -> _Place:
    """Returns the version folder of a set, e.g. DATA_DIR/coco/2017/1.1.0; the newest where none is named.

    Raises UserError where there is none.
    """
    place = data_dir / spec.name
    if spec.config:
        place = place / spec.config
    inner = place.folders()
    versions = [name for name in inner if _VERSION.fullmatch(name)]
    if not versions:
        raise UserError(_no_version(spec, data_dir, place, [name for name in inner if not name.startswith(".")]))
    if spec.version and spec.version not in versions:
        raise UserError(
            f"{place} has no version {spec.version}: name one of {', '.join(versions)}, or none for the newest."
        )
    return place / (spec.version or max(versions, key=lambda name: tuple(map(int, name.split(".")))))


def _no_version(spec: TfdsSpec, data_dir: _Place, place: _Place, inner: list[str]) -> str:
    if inner and not spec.config:
        return f"{place} has several configurations: name one, e.g. tfds:{spec.name}/{inner[0]}."
    set_name = _PREPARED_HERE.get(spec.name)
    remedy = (
        f"`palgan prepare {set_name}` makes it" if set_name else "prepare it with tensorflow_datasets as array_record"
    )
    return f"there is no prepared set {place}: {remedy}, or --config.data.tfds_dir names the folder where it is."
