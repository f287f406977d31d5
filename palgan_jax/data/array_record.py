"""Pictures in the ArrayRecord files of a prepared set: any record by its number, without TensorFlow.

A record is a `tf.train.Example`, of which only the encoded picture and the name of its file are read.

Shards are local files, or lie on Google Cloud Storage: the package array_record reads gs:// addresses itself, with
Google's usual credentials and one request a record. That was tried with a server that speaks the protocol, not with a
real bucket.
"""

import hashlib
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from palgan_jax.data.tfds_layout import PreparedSplit, Shard
from palgan_jax.errors import UserError, one_line
from palgan_jax.util.files import hash64

_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"  # for single records
_BUFFER = 32768


@dataclass(frozen=True)
class RecordPictures:
    """The pictures of a prepared split. Implements `Pictures`.

    Files are opened when they are first read.
    """

    prepared: PreparedSplit
    ends: tuple[int, ...] = field(init=False, repr=False)  # number of the first record after each shard
    problems: tuple[tuple[str, str], ...] = field(init=False, default=())
    _shards: "_OpenShards" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.prepared.remote and not self.prepared.folder.startswith("gs://"):
            raise UserError(
                f"records cannot be read from {self.prepared.folder}, only from folders and gs:// addresses: "
                "mount the storage, and give its path."
            )
        object.__setattr__(self, "ends", tuple(accumulate(shard.records for shard in self.prepared.shards)))
        object.__setattr__(self, "_shards", _OpenShards())

    def __reduce__(self) -> tuple[Any, ...]:
        return RecordPictures, (self.prepared,)  # another process opens the files for itself

    @property
    def title(self) -> str:
        return self.prepared.title

    @property
    def place(self) -> str:
        return f"{self.prepared.folder}@{self.prepared.split}"

    @property
    def index_file(self) -> Path | None:
        if self.prepared.remote:
            return None
        return Path(self.prepared.folder) / f"palgan-index-{self.prepared.split}.npz"

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    @property
    def names(self) -> tuple[str, ...] | None:
        """Returns SPLIT/NUMBER of each record; None where records hold names, which are read with their pictures."""
        return None if self.prepared.name_key else tuple(f"{self.prepared.split}/{i}" for i in range(len(self)))

    def label(self, i: int) -> str:
        return f"record {i} of {self.place}"

    def picture_name(self, i: int) -> str:
        """Returns the name of the picture's file, which is read from the record; SPLIT/NUMBER where it has none."""
        try:
            return self._fields(i)[0]
        except UserError:
            return f"{self.prepared.split}/{i}"

    def load(self, i: int) -> tuple[str, bytes]:
        """Returns name and encoded bytes. Raises UserError where the record cannot be read or holds no picture."""
        name, picture = self._fields(i)
        if not picture:
            raise UserError(f"{self.label(i)} holds no picture: copy or prepare the set again.")
        return name, picture

    def _fields(self, i: int) -> tuple[str, bytes]:
        """Returns name and encoded bytes, which may be empty. Raises UserError where the record cannot be read."""
        if not 0 <= i < len(self):
            raise IndexError(f"there is no picture {i} among {len(self)}")
        shard = bisect_right(self.ends, i)
        first = self.ends[shard - 1] if shard else 0
        path = f"{self.prepared.folder}/{self.prepared.shards[shard].name}"
        keys = (self.prepared.picture_key, self.prepared.name_key or "")
        try:
            record = self._shards.read(path, i - first)
            values = example_bytes(record, keys)
        except (RuntimeError, ValueError, DecodeError) as error:
            raise UserError(
                f"{self.label(i)} cannot be read from {Path(path).name} ({one_line(error)}): "
                "copy or prepare the set again."
            ) from error
        name = values.get(self.prepared.name_key or "", b"").decode("utf-8", "surrogateescape")
        return name or f"{self.prepared.split}/{i}", values.get(self.prepared.picture_key, b"")

    def stamps(self) -> np.ndarray:
        """Returns uint64 (N,), of which each changes with the name, length, size and time of the record's shard."""
        # The time, since shards are filled up to whole blocks: one with other pictures often has the same size.
        rows = (f"{_row(shard)}\n{shard.changed}" for shard in self.prepared.shards)
        starts = map(hash64, rows)
        numbers = (np.arange(shard.records, dtype=np.uint64) << 1 for shard in self.prepared.shards)
        pairs = zip(starts, numbers, strict=True)
        return np.concatenate([np.zeros(0, np.uint64), *(np.uint64(start) ^ of_shard for start, of_shard in pairs)])

    def digest(self) -> str:
        """Returns a digest of the names, lengths and sizes of the shards, which copies of the set share."""
        return hashlib.sha256("\n".join(map(_row, self.prepared.shards)).encode()).hexdigest()


def _row(shard: Shard) -> str:
    return f"{shard.name}\n{shard.records}\n{shard.file_bytes}"


class _OpenShards:
    """Keeps readers of shards open, as many as the limit of open files allows. Several threads may read at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: OrderedDict[str, Any] = OrderedDict()
        self._process = 0
        self._most = 0

    def read(self, path: str, position: int) -> bytes:
        """Returns record `position` of a shard. Raises RuntimeError or ValueError where it cannot be read."""
        reader = self._reader(path)
        try:
            (record,) = reader.read([position])
        except RuntimeError:
            self._drop(path, reader)
            raise
        if not record:  # as it is where the file has been cut short since it was opened
            self._drop(path, reader)
            raise ValueError("it is empty")
        return record

    def _reader(self, path: str) -> Any:
        from array_record.python.array_record_module import ArrayRecordReader

        with self._lock:
            if self._process != os.getpid():  # a fork must not share its parent's readers
                self._readers, self._process, self._most = OrderedDict(), os.getpid(), _most_open()
            reader = self._readers.get(path)
            if reader is None:
                reader = ArrayRecordReader(path, options=_OPTIONS, file_reader_buffer_size=_BUFFER)
                self._readers[path] = reader
                if len(self._readers) > self._most:
                    self._readers.popitem(last=False)  # closed when the last thread is done with it
            else:
                self._readers.move_to_end(path)
            return reader

    def _drop(self, path: str, reader: Any) -> None:
        """Closes a reader that has failed, so that the next read opens the file anew."""
        with self._lock:
            if self._readers.get(path) is reader:
                del self._readers[path]


def _most_open() -> int:
    """Returns how many files may stay open: half of this process's limit, which it raises up to 8192 where it can."""
    try:
        import resource
    except ImportError:  # on Windows
        return 128
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = 8192 if hard == resource.RLIM_INFINITY else min(hard, 8192)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        soft = target
    return 4096 if soft == resource.RLIM_INFINITY else max(soft // 2, 1)


# ---------------------------------------------------------------- tf.train.Example


def _example_class() -> Any:
    """Returns a message class that parses the lists of bytes of a `tf.train.Example`, and skips those of numbers.

    TensorFlow and tensorflow_datasets have one too, but importing either takes longer than reading thousands of
    records.
    """
    file = descriptor_pb2.FileDescriptorProto(name="palgan_jax/example.proto", package="palgan_jax", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto

    def message(name: str, parent: Any = None) -> Any:
        return (file.message_type if parent is None else parent.nested_type).add(name=name)

    def field_of(owner: Any, name: str, number: int, kind: Any, of: str = "", repeated: bool = False) -> None:
        label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
        owner.field.add(name=name, number=number, type=kind, label=label, type_name=f".palgan_jax.{of}" if of else None)

    field_of(message("BytesList"), "value", 1, kinds.TYPE_BYTES, repeated=True)
    field_of(message("Feature"), "bytes_list", 1, kinds.TYPE_MESSAGE, "BytesList")
    features = message("Features")
    entry = message("FeatureEntry", features)
    entry.options.map_entry = True
    field_of(entry, "key", 1, kinds.TYPE_STRING)
    field_of(entry, "value", 2, kinds.TYPE_MESSAGE, "Feature")
    field_of(features, "feature", 1, kinds.TYPE_MESSAGE, "Features.FeatureEntry", repeated=True)
    field_of(message("Example"), "features", 1, kinds.TYPE_MESSAGE, "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("palgan_jax.Example"))


_Example = _example_class()


def example_bytes(record: bytes, keys: Collection[str]) -> dict[str, bytes]:
    """Returns the first value of each of the features `keys` that a serialized `tf.train.Example` has.

    Raises `google.protobuf.message.DecodeError` where it is damaged.
    """
    features = _Example.FromString(record).features.feature
    values = {key: features[key].bytes_list.value for key in keys if key in features}
    return {key: value[0] if value else b"" for key, value in values.items()}
