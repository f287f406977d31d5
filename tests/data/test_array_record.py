"""Prepared sets, read without TensorFlow: golden/tfds was written by tfds, and is compared with what tfds reads.

`porting/make_golden_tfds.py` has made them.
"""

import io
import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import threading
import urllib.parse
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from palgan_jax.data.array_record import RecordPictures, example_bytes
from palgan_jax.data.source import open_source
from palgan_jax.data.spec import parse
from palgan_jax.data.tfds_layout import find_split
from palgan_jax.errors import UserError
from tests.support.places import GOLDEN

GOLDEN_TFDS = GOLDEN / "tfds"
VERSIONS = {"imagenet": "mini_imagenet/5.1.0", "coco": "mini_coco/2017/1.1.0"}
SPLITS = {
    "tfds:mini_imagenet@train": ("imagenet", "train", "file_name"),
    "tfds:mini_imagenet@validation": ("imagenet", "validation", "file_name"),
    "tfds:mini_coco/2017": ("coco", "train", "image/filename"),
}


@pytest.fixture
def sets(tmp_path) -> Path:
    """A copy, since indexes are written beside the records."""
    return shutil.copytree(GOLDEN_TFDS, tmp_path / "sets")


def pictures_of(spec: str, folder: Path | str) -> RecordPictures:
    return RecordPictures(find_split(parse(spec), str(folder)))


def complaint(spec: str, folder: Path | str | None) -> str:
    with pytest.raises(UserError) as error:
        open_source(spec, tfds_dir=folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("spec", SPLITS)
def test_records_are_those_that_tfds_reads(spec, sets):
    import tensorflow_datasets as tfds

    set_name, split, name = SPLITS[spec]
    expected = tfds.builder_from_directory(GOLDEN_TFDS / VERSIONS[set_name]).as_data_source(split)
    source = open_source(spec, tfds_dir=sets, near_gray=0)
    assert len(source) == len(expected) > 1
    for i, record in enumerate(expected):
        assert source.picture_name(i) == record[name].decode()
        rgb = source.read(i)
        np.testing.assert_array_equal(rgb, record["image"])
        assert tuple(source.sizes[i]) == rgb.shape[1::-1]
        assert source.file_bytes[i] == len(pictures_of(spec, sets).load(i)[1])
    assert source.parts == ((0, len(source), 1.0),)
    assert source.counts == {"found": len(source), "used": len(source), "near_gray": 0, "unreadable": 0}
    assert (sets / VERSIONS[set_name] / f"palgan-index-{split}.npz").is_file()


def test_neither_tensorflow_nor_tfds_is_imported(sets):
    code = f"""
import sys
sys.modules["tensorflow"] = sys.modules["tensorflow_datasets"] = None
from palgan_jax.data.source import open_source
source = open_source("tfds:mini_coco/2017", tfds_dir={str(sets)!r})
print(source.read(2).shape, source.picture_name(2))
print([name for name in sys.modules if name.startswith(("tensorflow.", "tensorflow_datasets."))])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.splitlines() == ["(96, 96, 3) car.jpg", "[]"], result.stderr


def test_where_a_set_is_looked_for(sets, monkeypatch, tmp_path):
    by_name = open_source("tfds:mini_imagenet@validation", tfds_dir=sets)
    monkeypatch.setenv("TFDS_DATA_DIR", str(sets))
    monkeypatch.setenv("HOME", str(tmp_path))
    repeat = open_source("tfds:mini_imagenet:5.1.0@validation")
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert repeat.identity() == by_name.identity()
    assert open_source(f"tfds:{sets}/mini_imagenet/5.1.0@validation").identity() == by_name.identity()
    assert str(tmp_path / "tensorflow_datasets" / "mini_imagenet") in complaint("tfds:mini_imagenet", None)
    sets.rename(tmp_path / "tensorflow_datasets")
    assert open_source("tfds:mini_imagenet@validation").identity() == by_name.identity()


def test_the_newest_version_is_taken_where_none_is_named(sets):
    shutil.copytree(sets / "mini_imagenet" / "5.1.0", sets / "mini_imagenet" / "10.0.0")
    assert "/10.0.0@" in pictures_of("tfds:mini_imagenet", sets).place
    assert "/5.1.0@" in pictures_of("tfds:mini_imagenet:5.1.0", sets).place
    assert "has no version 5.2.0: name one of 10.0.0, 5.1.0, or" in complaint("tfds:mini_imagenet:5.2.0", sets)


def change(sets: Path, set_name: str, file: str, **fields) -> None:
    path = sets / VERSIONS[set_name] / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_sets_that_are_not_there_or_not_usable(sets):
    assert "`palgan prepare imagenet` makes it, or --config.data.tfds_dir" in complaint("tfds:imagenet2012", sets)
    assert "prepare it with tensorflow_datasets as array_record" in complaint("tfds:flowers", sets)
    assert "has several configurations: name one, e.g. tfds:mini_coco/2017." in complaint("tfds:mini_coco", sets)
    assert "no split 'test': name one of train, validation behind an @." in complaint("tfds:mini_imagenet@test", sets)
    assert "has no dataset_info.json: name the version folder" in complaint(f"tfds:{sets}@train", None)

    change(sets, "coco", "dataset_info.json", fileFormat="tfrecord", name="coco")
    assert "holds tfrecord files" in (message := complaint("tfds:mini_coco/2017", sets))
    assert "`palgan prepare coco` makes ArrayRecord files" in message
    change(sets, "coco", "dataset_info.json", name="flowers")
    message = complaint("tfds:mini_coco/2017", sets)
    assert message.endswith(': prepare the set again with tensorflow_datasets and file_format="array_record".')
    change(sets, "coco", "dataset_info.json", alternativeFileFormats=["array_record"], name="mini_coco")
    assert len(open_source("tfds:mini_coco/2017", tfds_dir=sets)) == 3, "converted sets are there in both formats"

    features = json.loads((sets / VERSIONS["imagenet"] / "features.json").read_text())["featuresDict"]["features"]
    change(sets, "imagenet", "features.json", featuresDict={"features": {**features, "mask": features["image"]}})
    assert "has 2 pictures a record (image, mask)" in complaint("tfds:mini_imagenet", sets)
    change(sets, "imagenet", "features.json", featuresDict={"features": {"image": features["image"]}})
    nameless = open_source("tfds:mini_imagenet", tfds_dir=sets)
    assert [nameless.picture_name(i) for i in (0, 4)] == ["train/0", "train/4"]
    change(sets, "imagenet", "features.json", featuresDict={"features": {"nested": {"featuresDict": 3}}})
    assert "is described in a way that cannot be read" in complaint("tfds:mini_imagenet", sets)
    (sets / VERSIONS["imagenet"] / "dataset_info.json").write_text("{")
    assert "dataset_info.json cannot be read" in complaint("tfds:mini_imagenet", sets)

    (shard,) = (sets / VERSIONS["coco"]).glob("*00000-of-00001")
    shard.unlink()
    assert f"lacks 1 of the 1 files of its split train, {shard.name} among them" in complaint(
        "tfds:mini_coco/2017", sets
    )


def example(**features: bytes) -> bytes:
    from tensorflow_datasets.proto import tf_example_pb2

    message = tf_example_pb2.Example()
    for name, value in features.items():
        message.features.feature[name].bytes_list.value.append(value)
    return message.SerializeToString()


@given(st.dictionaries(st.text(max_size=5), st.binary(max_size=300), max_size=5), st.sets(st.text(max_size=5)))
def test_examples_are_read_as_tfds_writes_them(features, more):
    keys = {*list(features)[::2], *more}
    expected = {name: value for name, value in features.items() if name in keys}
    assert example_bytes(example(**features), keys) == expected


def test_other_kinds_of_features_are_stepped_over():
    from tensorflow_datasets.proto import tf_example_pb2

    message = tf_example_pb2.Example()
    for number in range(300):
        message.features.feature[f"number{number}"].int64_list.value.extend([-1, number])
        message.features.feature[f"share{number}"].float_list.value.append(0.5)
    message.features.feature["none"].bytes_list.SetInParent()
    message.features.feature["image"].bytes_list.value.extend([b"x" * 70_000, b"second"])
    record = message.SerializeToString()
    assert example_bytes(record, {b"image", b"none", b"share7"}) == {
        b"image": b"x" * 70_000,
        b"none": b"",
        b"share7": b"",
    }


@given(st.binary(max_size=200), st.integers(0, 400))
def test_damaged_examples_are_said_to_be_so_or_lack_something(noise, cut):
    record = example(image=b"x" * 300, file_name=b"a.jpg")
    for damaged in (noise, record[:cut], record[:cut] + noise):
        try:
            values = example_bytes(damaged, {"image", "file_name"})
        except DecodeError:
            continue
        assert set(values) <= {"image", "file_name"}


@pytest.fixture
def many(tmp_path) -> RecordPictures:
    """20 shards of 5 records each, whose pictures are other bytes."""
    folder = tmp_path / "numbers" / "1.0.0"
    folder.mkdir(parents=True)
    template = json.loads((GOLDEN_TFDS / VERSIONS["imagenet"] / "features.json").read_text())
    (folder / "features.json").write_text(json.dumps(template))
    split = {"name": "train", "shardLengths": ["5"] * 20}
    info = {"name": "numbers", "version": "1.0.0", "fileFormat": "array_record", "splits": [split]}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    for shard in range(20):
        writer = ArrayRecordWriter(str(folder / f"numbers-train.array_record-{shard:05d}-of-00020"), "group_size:1")
        for i in range(5):
            number = 5 * shard + i
            writer.write(example(image=content(number), file_name=f"{number}.jpg".encode()))
        writer.close()
    return pictures_of("tfds:numbers", tmp_path)


def content(number: int) -> bytes:
    return np.random.default_rng(number).bytes(2000 + number)


def test_any_record_by_its_number_from_many_threads(many):
    errors = []

    def read(seed: int) -> None:
        for i in np.random.default_rng(seed).integers(0, 100, 300).tolist():
            if many.load(i) != (f"{i}.jpg", content(i)):
                errors.append(i)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    with pytest.raises(IndexError):
        many.load(100)


def test_another_process_opens_the_files_for_itself(many):
    many.load(3)
    copy = pickle.dumps(many)
    assert len(copy) < 4000, "no reader, and no list of records, travels"
    assert pickle.loads(copy).load(99) == ("99.jpg", content(99))


def test_more_shards_than_files_that_may_be_open(many, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    code = f"""
import os, pickle, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
pictures = pickle.loads(bytes.fromhex({pickle.dumps(many).hex()!r}))
for i in [*range(100), *range(0, 100, 5)]:
    assert pictures.load(i)[0] == f"{{i}}.jpg"
print(len(os.listdir("/proc/self/fd")) < 24)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "True\n", result.stderr
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def shard_path(pictures: RecordPictures, number: int) -> Path:
    return Path(pictures.prepared.folder) / pictures.prepared.shards[number].name


def test_a_damaged_record_is_named_and_its_neighbors_are_read(many):
    path = shard_path(many, 2)
    data = bytearray(path.read_bytes())
    at = data.find(content(11)[:100])
    assert at > 0
    data[at + 500 : at + 520] = bytes(20)
    path.write_bytes(data)
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"^record 11 of .*@train cannot be read from .*00002-of-00020 \(.*mismatch"
        ):
            many.load(11)
        assert [many.load(i)[1] for i in (10, 12, 14)] == [content(i) for i in (10, 12, 14)]
    assert many.picture_name(11) == "train/11"


def test_a_shard_that_is_cut_or_gone_while_it_is_open(many):
    assert many.load(4)[0] == "4.jpg"
    shard_bytes = shard_path(many, 0).read_bytes()
    with shard_path(many, 0).open("r+b") as file:
        file.truncate(500)
    for _ in range(2):
        with pytest.raises(UserError, match=r"^record 4 of .* cannot be read from"):
            many.load(4)
    shard_path(many, 0).write_bytes(shard_bytes)
    assert many.load(4) == ("4.jpg", content(4)), "it is back"
    shard_path(many, 1).unlink()
    with pytest.raises(UserError, match="No such file"):
        many.load(7)


def test_an_index_leaves_damaged_records_out(sets):
    shard = next((sets / VERSIONS["imagenet"]).glob("*train*00000-of-00002"))
    data = bytearray(shard.read_bytes())
    data[3000] ^= 1  # in the second record
    shard.write_bytes(data)
    source = open_source("tfds:mini_imagenet", tfds_dir=sets)
    assert source.counts == {"found": 5, "used": 4, "near_gray": 0, "unreadable": 1}
    ((name, reason),) = source.unreadable
    assert name == "train/1" and "mismatch" in reason


def write_solid_pictures(path: Path, side: int, count: int = 5) -> None:
    """A shard of `count` records with PNG pictures of one color."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, 32), (200, 90, 30)).save(buffer, "PNG")
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for i in range(count):
        writer.write(example(image=buffer.getvalue(), file_name=f"{i}.png".encode()))
    writer.close()


def test_a_shard_that_is_written_anew_is_looked_at_again(sets):
    folder = sets / VERSIONS["imagenet"]
    change(sets, "imagenet", "dataset_info.json", splits=[{"name": "train", "shardLengths": ["5", "5"]}])
    first, second = (folder / f"mini_imagenet-train.array_record-{i:05d}-of-00002" for i in (0, 1))
    write_solid_pictures(first, 40)
    write_solid_pictures(second, 40)
    before, digest = first.stat(), pictures_of("tfds:mini_imagenet", sets).digest()
    assert open_source("tfds:mini_imagenet", tfds_dir=sets, near_gray=0).sizes.tolist() == [[40, 32]] * 10
    write_solid_pictures(first, 50)
    assert first.stat().st_size == before.st_size, "sizes alone would not tell them apart"
    calls = []
    after = open_source("tfds:mini_imagenet", tfds_dir=sets, near_gray=0, progress=lambda *now: calls.append(now))
    assert after.sizes.tolist() == [[50, 32]] * 5 + [[40, 32]] * 5
    assert calls == [(i, 5) for i in range(1, 6)], "the other shard is not looked at again"
    assert pictures_of("tfds:mini_imagenet", sets).digest() == digest, "copies differ in their times"


@pytest.mark.parametrize("field", ["generation", "etag", "mtime", "updated"])
def test_what_a_bucket_tells_of_a_new_file_changes_the_stamps(sets, field, monkeypatch):
    memory = fsspec.filesystem("memory")
    memory.put(str(sets), f"/{field}", recursive=True)
    listing = type(memory).ls

    def shards(value: str):
        def ls(self, path: str, detail: bool = True, **options):
            return [{**entry, field: value} for entry in listing(self, path, detail=True, **options)]

        monkeypatch.setattr(type(memory), "ls", ls)
        return find_split(parse("tfds:mini_coco/2017"), f"memory://{field}").shards

    local = find_split(parse("tfds:mini_coco/2017"), str(sets))
    first, equal, newer = (RecordPictures(replace(local, shards=shards(value))) for value in ("1", "1", "2"))
    np.testing.assert_array_equal(first.stamps(), equal.stamps())
    assert not set(first.stamps().tolist()) & set(newer.stamps().tolist())
    assert first.digest() == newer.digest() == RecordPictures(local).digest()


def test_buckets_are_looked_into_with_fsspec(sets):
    memory = fsspec.filesystem("memory")
    memory.put(str(sets), "/bucket", recursive=True)
    split = find_split(parse("tfds:mini_coco/2017"), "memory://bucket")
    assert split.folder == "memory://bucket/mini_coco/2017/1.1.0" and split.remote
    local = find_split(parse("tfds:mini_coco/2017"), str(sets)).shards
    assert split.shards == tuple(replace(shard, changed="") for shard in local), "it does not say when it was changed"
    with pytest.raises(UserError, match=r"^records cannot be read from memory://.*: mount the storage"):
        RecordPictures(split)
    assert find_split(parse("tfds:memory://bucket/mini_coco/2017/1.1.0")) == split
    assert "there is no prepared set memory://bucket/birds" in complaint("tfds:birds", "memory://bucket")


def test_addresses_that_cannot_be_opened(sets):
    assert "is at no place that can be read" in complaint("tfds:nosuch://x/1.0.0", None)


def test_google_storage_needs_gcsfs(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    message = complaint("tfds:gs://bucket/coco/1.1.0", None)
    assert message.startswith("gs://bucket/coco/1.1.0 cannot be opened (Please install gcsfs")


class GoogleStorage(BaseHTTPRequestHandler):
    """Reads of objects as Google's JSON interface has them: the address names the object, a header the bytes."""

    def do_GET(self) -> None:
        name = urllib.parse.unquote(self.path.partition("/storage/v1/b/bucket/o/")[2].partition("?")[0])
        path = GOLDEN_TFDS / name
        if not name or not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(data) - int(last))
        end = int(last) + 1 if first and last else len(data)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{min(end, len(data)) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data[start:end])))
        self.send_header("x-goog-generation", "1")
        self.end_headers()
        self.wfile.write(data[start:end])

    def log_message(self, *_: object) -> None:
        pass


def test_records_are_read_from_google_storage():
    local = pictures_of("tfds:mini_coco/2017", GOLDEN_TFDS)
    remote = replace(local.prepared, folder=f"gs://bucket/{VERSIONS['coco']}", remote=True)
    missing = replace(remote, folder="gs://bucket/nowhere")
    code = f"""
import pickle
from palgan_jax.errors import UserError
sound, missing = pickle.loads(bytes.fromhex({pickle.dumps([RecordPictures(remote), RecordPictures(missing)]).hex()!r}))
print([sound.load(i) for i in (2, 0, 1)])
try: missing.load(0)
except UserError as error: print(error)
"""
    server = ThreadingHTTPServer(("127.0.0.1", 0), GoogleStorage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {**os.environ, "CLOUD_STORAGE_EMULATOR_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    try:
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=600
        )
    finally:
        server.shutdown()
        server.server_close()
    lines = result.stdout.splitlines()
    assert lines[0] == str([local.load(i) for i in (2, 0, 1)]), result.stderr
    assert lines[1].startswith("record 0 of gs://bucket/nowhere@train cannot be read from mini_coco-train")
    assert RecordPictures(remote).index_file is None
