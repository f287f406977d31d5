"""How often the records of a prepared set are read: once each, although their names are inside."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from palgan_jax.data.array_record import RecordPictures
from palgan_jax.data.folder import list_pictures
from palgan_jax.data.spec import parse
from palgan_jax.data.tfds_layout import find_split
from palgan_jax.errors import UserError
from palgan_jax.evaluation import conclude, evaluate, names, photographs
from palgan_jax.evaluation.names import Selection, all_names, select_photographs, select_reference
from palgan_jax.evaluation.photographs import Photographs
from palgan_jax.evaluation.protocols import PROTOCOLS
from palgan_jax.evaluation.systems import Predictions, gray
from tests.support.places import GOLDEN

SMALL = replace(PROTOCOLS["folder"], side=32)
NAMES = ["bamboo.jpg", "bench-with-view.jpg", "baseball-field.jpg", "boardwalk.jpg", "branches.jpg"]


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """Nothing is kept from earlier tests, neither in files nor in memory."""
    monkeypatch.setenv("PALGAN_CACHE", str(tmp_path / "cache"))
    names._names_inside.cache_clear()


@pytest.fixture
def truth() -> RecordPictures:
    return RecordPictures(find_split(parse("tfds:mini_imagenet@train"), str(GOLDEN / "tfds")))


@pytest.fixture
def reads(monkeypatch) -> Counter[int]:
    """Counts how often each record is read."""
    counts, fields = Counter(), RecordPictures._fields

    def counted(self, i):
        counts[i] += 1
        return fields(self, i)

    monkeypatch.setattr(RecordPictures, "_fields", counted)
    return counts


@pytest.fixture
def reads_before_the_report(monkeypatch, reads) -> Counter[int]:
    """Counts the same, until the report reads the few photographs that it shows."""
    counts, conclusion = Counter(), conclude.conclude

    def noted(*arguments):
        counts.update(reads)
        return conclusion(*arguments)

    monkeypatch.setattr(evaluate, "conclude", noted)
    return counts


def listed(*names):
    """A protocol with a list."""
    return replace(SMALL, name="listed", names=lambda: names)


def measured(system, truth, protocol, output):
    return evaluate.evaluate(system, truth, protocol, output, metrics=("psnr",), batch_size=8).evaluation


@pytest.mark.parametrize("protocol", [SMALL, listed(*sorted(NAMES))], ids=["no list", "as long as its list"])
def test_a_name_is_read_with_its_photograph(truth, protocol, reads_before_the_report, tmp_path):
    results = measured(gray(), truth, protocol, tmp_path / "out")
    assert results.names == NAMES and results.protocol_exact
    assert reads_before_the_report == Counter(range(len(NAMES)))


def test_other_names_than_those_of_the_list_are_noticed_when_they_are_read(truth, tmp_path, caplog):
    results = measured(gray(), truth, listed("another.jpg", *NAMES[1:]), tmp_path / "out")
    assert not results.protocol_exact
    assert results.facts["difference from the list"] == "1 missing (another.jpg), 1 not on the list (bamboo.jpg)"
    assert "whose name is refused: 1 missing (another.jpg)" in caplog.text


def test_a_name_that_records_share_gets_a_number(truth, tmp_path, monkeypatch):
    fields = RecordPictures._fields
    monkeypatch.setattr(RecordPictures, "_fields", lambda self, i: (NAMES[i // 2], fields(self, i)[1]))
    results = measured(gray(), truth, listed(*NAMES[:3], "x.jpg", "y.jpg"), tmp_path / "out")
    assert results.names == [NAMES[0], f"{NAMES[0]} (2)", NAMES[1], f"{NAMES[1]} (2)", NAMES[2]]
    assert results.facts["difference from the list"].endswith(f"2 there twice ({NAMES[0]}, {NAMES[1]})")


def test_names_that_choose_a_part_are_read_once_and_kept(truth, reads, monkeypatch):
    part = replace(listed(NAMES[4], NAMES[1]), reference=lambda: (NAMES[2],))
    assert select_photographs(truth, part) == Selection([4, 1], [NAMES[4], NAMES[1]])
    assert select_reference(truth, part) == Selection([2], [NAMES[2]])
    assert reads == Counter(range(5))
    names._names_inside.cache_clear()  # as in another process
    assert all_names(truth) == NAMES and reads.total() == 5
    with pytest.raises(UserError, match="holds none of the pictures of listed"):
        select_photographs(truth, listed("another.jpg"))

    (stored,) = (names.cache_folder() / "names").iterdir()
    stored.write_text("[")
    names._names_inside.cache_clear()
    assert all_names(truth) == NAMES and reads.total() == 10, "a damaged file counts for nothing"
    shard = replace(truth.prepared.shards[0], changed="later")
    assert all_names(RecordPictures(replace(truth.prepared, shards=(shard, *truth.prepared.shards[1:])))) == NAMES
    assert reads.total() == 15, "other records may have other names"


def test_names_that_cannot_be_read_are_not_kept(truth, monkeypatch):
    load = RecordPictures.load

    def unreachable(self, i):
        if i == 3:
            raise UserError("gone")
        return load(self, i)

    with monkeypatch.context() as patch:
        patch.setattr(RecordPictures, "load", unreachable)
        assert all_names(truth) == [*NAMES[:3], f"record 3 of {truth.place}", NAMES[4]]
    names._names_inside.cache_clear()
    assert all_names(truth) == NAMES


def test_names_outside_the_pictures_need_no_reading(truth, reads, tmp_path):
    nameless = RecordPictures(replace(truth.prepared, name_key=None))
    assert select_photographs(nameless, listed("4", "2")) == Selection([4, 2], ["train/4", "train/2"])
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert select_photographs(list_pictures(tmp_path), SMALL) == Selection(range(1), ["a.png"])
    assert not reads


def test_all_processes_get_the_names_of_the_global_batch(truth, monkeypatch):
    """Two processes with two rows each; the second batch is filled up."""
    loader = Photographs(truth, select_photographs(truth, SMALL), SMALL)
    messages: list[list[bytes]] = [[], []]
    for process, own_messages in enumerate(messages):
        monkeypatch.setattr(
            photographs, "gather_bytes", lambda message, own_messages=own_messages: own_messages.append(message) or []
        )
        list(loader.batches(0, 4, (process, 2)))
    for process in range(2):
        all_messages = zip(*messages, strict=True)
        monkeypatch.setattr(photographs, "gather_bytes", lambda _, all_messages=all_messages: next(all_messages))
        batches = list(loader.batches(0, 4, (process, 2)))
        assert [batch_names.tolist() for _, batch_names in batches] == [NAMES[:4], [NAMES[4], "", "", ""]]
        assert [batch["mask"].tolist() for batch, _ in batches] == [[True, True], [process == 0, False]]


def test_an_interrupted_evaluation_goes_on_with_the_names_that_it_has(truth, reads_before_the_report, tmp_path):
    output = tmp_path / "out"
    plan = evaluate.make_plan(gray(), truth, SMALL, ("psnr",), 8, 0, evaluate.make_mesh())
    rows = {"name": np.array(["first", "second"]), "mask": np.array([True, False]), "psnr": np.array([1.0, 0.0])}
    evaluate.resume.save(output, evaluate.Partial(2, rows), plan.fingerprint, plan.title)
    results = measured(gray(), truth, SMALL, output)
    assert results.names == ["first", *NAMES[2:]] and results.values["psnr"][0] == 1
    assert results.facts["unreadable"] == ["second"]
    assert reads_before_the_report == Counter([2, 3, 4])


def test_predictions_are_matched_with_names_as_they_are_read(truth, tmp_path):
    folder = tmp_path / "predictions"
    folder.mkdir()
    for name in NAMES[1:]:
        Image.new("RGB", (32, 32)).save((folder / name).with_suffix(".png"))
    with pytest.raises(UserError, match=r"has no prediction for 1 of 1 photographs \(bamboo.jpg\)"):
        measured(Predictions(folder), truth, SMALL, tmp_path / "out")
    Image.new("RGB", (32, 32)).save(folder / "bamboo.png")
    assert measured(Predictions(folder), truth, SMALL, tmp_path / "out").count == 5


def test_kept_names_are_text(truth):
    all_names(truth)
    (stored,) = (names.cache_folder() / "names").iterdir()
    assert json.loads(stored.read_text()) == NAMES and stored.name.startswith("mini_imagenet-5.1.0-train-")
