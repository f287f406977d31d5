"""`palgan prepare` with miniatures of the published archives: made, interrupted, converted, refused, and trained on.

TensorFlow is imported in other processes only: it changes what a process logs, warns of and does when it ends.
"""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from PIL import Image

from palgan_jax.cli import main
from palgan_jax.data.array_record import RecordPictures
from palgan_jax.data.source import open_source
from palgan_jax.data.spec import parse
from palgan_jax.data.tfds_layout import find_split
from palgan_jax.errors import UserError
from palgan_jax.prepare.archives import UsableArchive, check_addresses
from palgan_jax.prepare.sets import SETS, Archive
from tests.support.miniature_sets import (
    CMYK_KNOWN,
    CMYK_UNKNOWN,
    GRAY,
    PNG_KNOWN,
    PNG_UNKNOWN,
    encode,
    make_coco,
    make_imagenet,
    photographs,
    write_tar,
)
from tests.support.places import COMPILATION_CACHE, ROOT
from tests.support.waiting import wait_for

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"

# What TFRECORD users have: the real builder, several shards. Then all records as TensorFlow reads them, and what tfds
# makes of them.
REFERENCE = """
import hashlib, json, sys
import tensorflow_datasets as tfds
tfds.disable_progress_bar()
manual_dir, data_dir, name, shards = sys.argv[1:]
builder = tfds.builder(name, data_dir=data_dir)
config = tfds.download.DownloadConfig(manual_dir=manual_dir, num_shards=int(shards))
builder.download_and_prepare(download_config=config)
records = {}
for split in builder.info.splits:
    order = tfds.ReadConfig(interleave_cycle_length=1)
    raw = builder.as_dataset(split, decoders={"image": tfds.decode.SkipDecoding()}, read_config=order)
    records[split] = [
        [e["file_name"].decode(), builder.info.features["label"].int2str(e["label"]),
         hashlib.sha256(e["image"]).hexdigest()] for e in raw.as_numpy_iterator()
    ]
print("RECORDS" + json.dumps(records))
"""


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", **variables}


def start(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "palgan_jax.cli", "prepare", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)


def prepare(*arguments: object, code: int = 0) -> str:
    """Runs the command to its end; returns its output."""
    process = start(*arguments)
    errors = process.communicate()[1]
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    return errors


def refused(capsys, *arguments: object) -> str:
    """Runs the command in this process, where it has to end before TensorFlow is needed; returns its sentence."""
    assert main(["prepare", *map(str, arguments)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("palgan: error: ")
    return error


def pictures(folder: Path, spec: str) -> RecordPictures:
    return RecordPictures(find_split(parse(spec), str(folder)))


def contents(folder: Path, spec: str) -> list[tuple[str, str]]:
    """Name and digest of each picture."""
    records = pictures(folder, spec)
    pairs = (records.load(i) for i in range(len(records)))
    return [(name, hashlib.sha256(data).hexdigest()) for name, data in pairs]


def files(folder: Path) -> dict[str, int]:
    """When each file was written last."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    make_imagenet(folder)
    return folder


@pytest.fixture(scope="module")
def imagenet(archives, tmp_path_factory) -> tuple[Path, str]:
    """The data folder with ImageNet in it, and the output of the command."""
    folder = tmp_path_factory.mktemp("imagenet")
    return folder, prepare("imagenet", "--manual-dir", archives, "--data-dir", folder)


@pytest.fixture(scope="module")
def tfrecords(archives, tmp_path_factory) -> tuple[Path, dict[str, list[list[str]]]]:
    """The data folder with a TFRECORD set by tfds in it, and (name, label, digest) of its pictures by split."""
    folder = tmp_path_factory.mktemp("tfrecords")
    command = [sys.executable, "-c", REFERENCE, str(archives), str(folder), "imagenet2012", "3"]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    return folder, json.loads(result.stdout.partition("RECORDS")[2])


# ------------------------------------------------------------------------------------------------------ from archives


def test_imagenet_comes_out_as_tfds_reads_it(imagenet, tfrecords):
    folder, _ = imagenet
    for split, expected in tfrecords[1].items():
        # The shuffling of tfds depends on the names alone.
        assert contents(folder, f"tfds:imagenet2012@{split}") == [(name, digest) for name, _, digest in expected]
        assert {label for name, label, _ in expected if split == "train"} <= {"n01440764", "n01739381", "n02105855"}
    assert [len(rows) for rows in tfrecords[1].values()] == [60, 6]


def test_the_pictures_are_those_of_the_archives_but_for_what_tfds_mends(imagenet, archives):
    originals = {}
    with tarfile.open(archives / TRAIN) as outer:
        for synset in outer:
            with tarfile.open(fileobj=outer.extractfile(synset)) as inner:
                originals |= {member.name: inner.extractfile(member).read() for member in inner}
    prepared = dict(pictures(imagenet[0], "tfds:imagenet2012").load(i) for i in range(60))
    assert prepared.keys() == originals.keys()
    assert {name for name in prepared if prepared[name] != originals[name]} == {CMYK_KNOWN, PNG_KNOWN}
    for name in (CMYK_KNOWN, PNG_KNOWN):
        with Image.open(io.BytesIO(prepared[name])) as picture:
            assert (picture.format, picture.mode) == ("JPEG", "RGB")


def test_what_tfds_does_not_mend_can_be_read_too(imagenet):
    source = open_source("tfds:imagenet2012", tfds_dir=imagenet[0], near_gray=0)
    names = [source.picture_name(i) for i in range(len(source))]
    assert len(names) == 60
    for name in (CMYK_UNKNOWN, PNG_UNKNOWN, CMYK_KNOWN, PNG_KNOWN):
        rgb = source.read(names.index(name))
        assert np.ptp(rgb, axis=2).max() > 8, "it has colors"
    gray = source.read(names.index(GRAY))
    assert np.ptp(gray, axis=2).max() == 0


def test_each_record_is_stored_alone(imagenet):
    for path in imagenet[0].rglob("*.array_record-*"):
        assert "group_size:1," in ArrayRecordReader(str(path)).writer_options_string()


def test_it_says_what_it_found_and_that_this_is_not_the_whole(imagenet):
    folder, output = imagenet
    assert f"{TRAIN} has 317,440 bytes, not 147,897,477,120: it is taken as it is" in output
    assert "train: reading 3/3" in output and "train: writing 60/60" in output and "checking 2/2" in output
    assert "60 pictures in 1 shard, not 1,281,167: this is not the whole of ImageNet" in output
    assert "6 pictures in 1 shard, not 50,000" in output
    version = folder / "imagenet2012" / "5.1.0"
    assert output.splitlines()[-1] == f"{version} is ready: tfds:imagenet2012@train"
    assert [path.name for path in folder.iterdir()] == ["imagenet2012"]
    assert [path.name for path in (folder / "imagenet2012").iterdir()] == ["5.1.0"]


def test_a_finished_set_is_checked_and_left_alone(imagenet, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # neither archives nor TensorFlow are needed
    before = files(imagenet[0])
    assert main(["prepare", "imagenet", "--data-dir", str(imagenet[0])]) == 0
    output = capsys.readouterr().err
    assert "not 1,281,167" in output
    assert output.endswith("5.1.0 is finished: there is nothing to do\n")
    assert files(imagenet[0]) == before


def test_coco_comes_out_with_its_boxes(tmp_path):
    names = make_coco(tmp_path / "archives")
    output = prepare("coco", "--manual-dir", tmp_path / "archives", "--data-dir", tmp_path / "data")
    assert "12 pictures in 1 shard, not 118,287" in output and "4 pictures in 1 shard, not 5,000" in output
    version = tmp_path / "data" / "coco" / "2017" / "1.1.0"
    assert sorted(path.name for path in version.parent.iterdir()) == ["1.1.0"], "what was unpacked is gone"
    for split, expected in names.items():
        records = pictures(tmp_path / "data", f"tfds:coco/2017@{split}")
        assert sorted(records.picture_name(i) for i in range(len(records))) == sorted(expected)
    originals = [hashlib.sha256(encode(picture)).hexdigest() for picture in photographs()[:12]]
    assert sorted(digest for _, digest in contents(tmp_path / "data", "tfds:coco/2017")) == sorted(originals)
    assert (version / "objects-label.labels.txt").read_text().splitlines()[2] == "thing 3"
    open_source("tfds:coco/2017@validation", tfds_dir=tmp_path / "data")


def test_a_prepared_set_trains_without_tensorflow_and_tfds(imagenet, tmp_path):
    blocked = tmp_path / "blocked"
    for package in ("tensorflow", "tensorflow_datasets"):
        (blocked / package).mkdir(parents=True)
        (blocked / package / "__init__.py").write_text("raise ImportError('not while training')")
    settings = {"total": "2 steps", "log_every": "1 steps", "eval_every": "2 steps", "checkpoint_every": "0 steps"}
    settings |= {"sheet_every": "0 steps", "data.workers": "1"}
    settings |= {"net.attention": "none", "net.norm": "batch", "net.spectral": "false"}  # compiled in half the time
    settings |= {"data.train": "tfds:imagenet2012@train", "data.val": "tfds:imagenet2012:5.1.0@validation"}
    workdir = tmp_path / "run"
    command = [sys.executable, "-m", "palgan_jax.main", "--config", "configs/tiny.py", "--workdir", str(workdir)]
    command += [f"--config.{name}={value}" for name, value in settings.items()]
    flags = " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag)
    variables = environment(
        XLA_FLAGS=flags,
        JAX_COMPILATION_CACHE_DIR=str(COMPILATION_CACHE),
        PYTHONPATH=str(blocked),
        TFDS_DATA_DIR=str(imagenet[0]),
    )
    probe = [sys.executable, "-c", "import tensorflow"]
    assert "not while training" in subprocess.run(probe, env=variables, capture_output=True, text=True).stderr
    result = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "tfds:imagenet2012@train: 59 pictures (60 found, 1 next to gray)" in result.stderr
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss/g" in row] == [1, 2]
    assert any("val/psnr" in row for row in rows)


# ------------------------------------------------------------------------------------------------- interrupted, resumed


def test_killed_broken_off_and_gone_on_with(imagenet, archives, tmp_path):
    """Interrupted and killed in the middle of train, stopped by a bad archive after train, then to the end."""
    manual, data = tmp_path / "archives", tmp_path / "data"
    shutil.copytree(archives, manual)
    work = data / "imagenet2012" / "preparing"
    for number in (signal.SIGINT, signal.SIGKILL):
        for _ in range(5):
            process = start("imagenet", "--manual-dir", manual, "--data-dir", data)
            wait_for(lambda: list(work.glob("train/imagenet2012/*incomplete*")), process, every=0.002)
            process.send_signal(number)
            output = process.communicate()[1]
            if process.returncode:
                break
            shutil.rmtree(data)  # on a busy machine it may be through before the signal comes
        assert not (data / "imagenet2012" / "5.1.0").exists()
        if number == signal.SIGINT:
            assert process.returncode == 130
            assert output.endswith("interrupted: what is finished is kept, and the same command goes on from there\n")
            assert not list(work.glob("train/imagenet2012/*"))

    name = "ILSVRC2012_val_00000001.JPEG"
    doubled = [(name, encode(picture)) for picture in photographs()[:2]]
    write_tar(manual / VALIDATION, doubled)
    output = prepare("imagenet", "--manual-dir", manual, "--data-dir", data, code=2)
    assert "palgan: error: ImageNet cannot be prepared, at its validation (" in output
    assert not (data / "imagenet2012" / "5.1.0").exists()
    assert not (work / "validation").exists()
    (shard,) = work.glob("train/imagenet2012/5.1.0/*array_record*")
    time_of_shard = shard.stat().st_mtime_ns

    shutil.copy(archives / VALIDATION, manual)
    (manual / TRAIN).unlink()  # is not needed any more
    output = prepare("imagenet", "--manual-dir", manual, "--data-dir", data)
    assert "train: finished before" in output and "train: reading" not in output
    assert not work.exists()
    for split in ("train", "validation"):
        spec = f"tfds:imagenet2012@{split}"
        assert contents(data, spec) == contents(imagenet[0], spec)
    assert (data / "imagenet2012" / "5.1.0" / shard.name).stat().st_mtime_ns == time_of_shard


def test_two_at_once_are_not_possible(archives, tmp_path, capsys):
    from palgan_jax.prepare.lock import workplace

    arguments = ("imagenet", "--manual-dir", archives, "--data-dir", tmp_path)
    with workplace(tmp_path / "imagenet2012"):
        assert "another palgan prepare is at work" in refused(capsys, *arguments)
    assert not (tmp_path / "imagenet2012" / "preparing").exists()


# ------------------------------------------------------------------------------------------------------ from TFRECORD


def test_a_tfrecord_set_is_converted_in_two_goes(tfrecords, tmp_path):
    """The first stops at a damaged file; the second keeps what the first has made."""
    import tensorflow_datasets as tfds

    original, expected = tfrecords
    data = shutil.copytree(original, tmp_path / "data")
    version = data / "imagenet2012" / "5.1.0"
    spec = "tfds:imagenet2012@train"
    with pytest.raises(UserError, match="palgan prepare imagenet"):
        open_source(spec, tfds_dir=data)
    damaged = version / "imagenet2012-train.tfrecord-00002-of-00003"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-100])
    output = prepare("imagenet", "--data-dir", data, code=2)
    assert f"palgan: error: {damaged} cannot be read" in output
    converted = [path for path in version.iterdir() if "array_record" in path.name]
    assert {path.name for path in converted} <= {
        *(f"imagenet2012-train.array_record-{number:05d}-of-00003" for number in range(2)),
        *(f"imagenet2012-validation.array_record-{number:05d}-of-00003" for number in range(3)),
    }
    assert len(converted) >= 2
    times = {path: path.stat().st_mtime_ns for path in converted}
    with pytest.raises(UserError, match="palgan prepare imagenet"):
        open_source(spec, tfds_dir=data)

    damaged.write_bytes(content)
    output = prepare("imagenet", "--data-dir", data)
    assert "60 pictures in 3 shards" in output
    assert {path: path.stat().st_mtime_ns for path in converted} == times
    for split, rows in expected.items():
        assert contents(data, f"tfds:imagenet2012@{split}") == [(name, digest) for name, _, digest in rows]
    by_tfds = tfds.builder_from_directory(version).as_data_source("train")
    assert [record["file_name"].decode() for record in by_tfds] == [name for name, _, _ in expected["train"]]
    original_files = files(original)
    unchanged_names = {name for name in original_files if (data / name).read_bytes() == (original / name).read_bytes()}
    assert original_files.keys() - unchanged_names == {"imagenet2012/5.1.0/dataset_info.json"}
    old, new = (
        json.loads((folder / "imagenet2012/5.1.0/dataset_info.json").read_bytes()) for folder in (original, data)
    )
    assert new == old | {"alternativeFileFormats": ["array_record"]}
    assert not [path for path in version.iterdir() if path.name.startswith(".")]


# ------------------------------------------------------------------------------------------------------------ refusals


def test_without_tensorflow_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    error = refused(capsys, "imagenet", "--data-dir", tmp_path)
    assert "pip install -e '.[prepare]'" in error
    assert list(tmp_path.iterdir()) == []


def test_all_missing_and_broken_archives_are_named_at_once(archives, tmp_path, capsys):
    arguments = ("imagenet", "--manual-dir", tmp_path, "--data-dir", tmp_path / "data")
    error = refused(capsys, *arguments)
    assert f"{TRAIN} is missing (147.90 GB), {VALIDATION} is missing (6.74 GB)" in error
    assert "https://image-net.org/download-images" in error and "--manual-dir" in error

    (tmp_path / f"{TRAIN}.part").write_bytes(bytes(1000))
    (tmp_path / VALIDATION).write_bytes((archives / VALIDATION).read_bytes()[:-12_000])
    error = refused(capsys, *arguments)
    assert f"{TRAIN} is missing ({TRAIN}.part is there, with 1,000 of 147,897,477,120 bytes)" in error
    assert f"{VALIDATION} is no whole archive (unexpected end of data, 18,720 of 6,744,924,160 bytes)" in error

    shutil.copy(archives / VALIDATION, tmp_path / TRAIN)
    (tmp_path / VALIDATION).write_bytes(b"<html>")
    error = refused(capsys, *arguments)
    assert f"{TRAIN} does not hold what it should (the first thing in it is ILSVRC2012_val_00000001.JPEG)" in error
    assert f"{VALIDATION} is no whole archive" in error
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("cut", [1, 512, 1024, 2000])
def test_a_tar_without_its_end_is_noticed_wherever_it_was_cut(archives, tmp_path, capsys, cut):
    shutil.copy(archives / TRAIN, tmp_path)
    with tarfile.open(archives / VALIDATION) as tar:
        last = tar.getmembers()[-1]
    end = last.offset_data + -(-last.size // 512) * 512
    (tmp_path / VALIDATION).write_bytes((archives / VALIDATION).read_bytes()[: end + 512 - cut])
    error = refused(capsys, "imagenet", "--manual-dir", tmp_path, "--data-dir", tmp_path / "data")
    assert f"{VALIDATION} is no whole archive" in error


def test_a_zip_that_is_cut_short_is_named(tmp_path, capsys):
    make_coco(tmp_path)
    path = tmp_path / "train2017.zip"
    path.write_bytes(path.read_bytes()[:-500])
    error = refused(capsys, "coco", "--manual-dir", tmp_path, "--data-dir", tmp_path / "data")
    assert "train2017.zip is no whole archive (File is not a zip file, 46,060 of 19,336,861,798 bytes)" in error


def test_a_server_that_does_not_answer_is_named_with_the_file(tmp_path):
    archive = Archive("train2017.zip", 10, ".*", "http://127.0.0.1:9/train2017.zip")
    with pytest.raises(
        UserError, match=r"^http://127.0.0.1:9/train2017.zip cannot be downloaded \(.*refused.*\): put t"
    ):
        check_addresses({archive.file: UsableArchive(archive, None, 10, 0)}, tmp_path)


def test_too_little_room_is_said_before_anything_is_done(archives, tmp_path, capsys, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=300_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    error = refused(capsys, "imagenet", "--manual-dir", archives, "--data-dir", tmp_path)
    assert f"{tmp_path} has 300.00 kB free and preparing ImageNet takes up to 355.12 kB" in error
    assert not (tmp_path / "imagenet2012" / "preparing").exists()


@pytest.mark.parametrize("damage", ["missing", "cut", "shorter"])
def test_a_set_that_does_not_hold_what_it_says_is_refused(imagenet, tmp_path, capsys, damage):
    version = shutil.copytree(imagenet[0], tmp_path / "data") / "imagenet2012" / "5.1.0"
    (shard,) = version.glob("*-train.array_record*")
    if damage == "missing":
        shard.unlink()
        expected = "lacks 1 of the 1 files of its split train"
    elif damage == "cut":
        shard.write_bytes(shard.read_bytes()[:100_000])
        expected = f"{shard} is damaged"
    else:
        records = ArrayRecordReader(str(shard)).read_all()
        writer = ArrayRecordWriter(str(shard), "group_size:1")
        for record in records[1:]:
            writer.write(record)
        writer.close()
        expected = f"{shard} holds 59 records, not 60"
    assert expected in refused(capsys, "imagenet", "--data-dir", tmp_path / "data")


def test_sizes_are_those_that_tfds_has():
    import tensorflow_datasets

    package = Path(tensorflow_datasets.__file__).parent
    sums = [package / "url_checksums/coco.txt", package / "datasets/imagenet2012/checksums.tsv"]
    rows = [line.split() for path in sums for line in path.read_text().splitlines()]
    published = {row[0].rpartition("/")[2]: (row[0], int(row[1])) for row in rows}
    archives = [a for s in SETS.values() for split in s.splits for a in split.archives if a.size]
    assert len(archives) == 8
    for archive in archives:
        url, size = published[archive.file]
        assert archive.size == size
        assert archive.url in ("", url)
