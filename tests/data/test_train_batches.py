import dataclasses
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palgan_jax.data import train_batches as pipeline
from palgan_jax.data.mixture import MixtureSource
from palgan_jax.data.order import Order
from palgan_jax.data.source import StoredSource, open_source
from palgan_jax.data.train_batches import CACHE_BYTES, eval_batches, train_batches
from palgan_jax.data.workers import Replacements
from palgan_jax.errors import DataStopped, UserError

SIDE = 32
BATCH = 8


@pytest.fixture(scope="module")
def folder(samples, tmp_path_factory) -> Path:
    """21 of the sample photographs, made small; no number of the tests divides 21 but 3 and 7."""
    root = tmp_path_factory.mktemp("pictures")
    for number, path in enumerate(sorted(samples.glob("*.jpg"))[:21]):
        with Image.open(path) as picture:
            picture.thumbnail((160, 160))
            picture.save(root / f"{number:02}{('.jpg', '.png')[number % 5 == 0]}")
    return root


@pytest.fixture(scope="module")
def source(folder) -> StoredSource:
    source = open_source(f"folder:{folder}", near_gray=0)
    assert len(source) == 21
    return source


@pytest.fixture
def fragile(folder, tmp_path) -> tuple[StoredSource, Path]:
    """A source whose files may be broken."""
    copy = tmp_path / "fragile"
    shutil.copytree(folder, copy)
    return open_source(f"folder:{copy}", near_gray=0), copy


def take(source, count: int = 6, position: int = 0, **options) -> list[dict[str, np.ndarray]]:
    options = {"resolution": SIDE, "batch_size": BATCH, "seed": 3, **options}
    with train_batches(source, position=position, **options) as batches:
        taken = [next(batches) for _ in range(count)]
        assert batches.position == position + count * options["batch_size"]
        return taken


def assert_same(first: list[dict], second: list[dict]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() - {"seconds"}:
            assert a[name].dtype == b[name].dtype
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def join(parts: list[list[dict]]) -> list[dict]:
    """The global batches that processes' shares make."""
    return [
        {name: np.concatenate([p[name] for p in shares]) for name in shares[0]} for shares in zip(*parts, strict=True)
    ]


@pytest.fixture(scope="module")
def expected(source) -> list[dict[str, np.ndarray]]:
    return take(source)


def test_what_a_batch_holds(expected):
    for batch in expected:
        assert batch["rgb"].shape == (BATCH, SIDE, SIDE, 3) and batch["rgb"].dtype == np.uint8
        assert batch["index"].shape == (BATCH,) and batch["index"].dtype == np.int32
        assert (batch["replaced"] == -1).all()
        assert batch["seconds"].dtype == np.float32 and (batch["seconds"] > 0).all()
        assert (batch["rgb"].std(axis=(1, 2)) > 1).any(axis=1).all(), "pictures, not constants"


def test_a_crop_shows_its_picture(source, expected):
    """The mean color of a crop is nearer to that of its own picture than to that of most others."""
    means = np.stack([source.read(i).mean(axis=(0, 1)) for i in range(len(source))])
    ranks = []
    for batch in expected:
        for rgb, i in zip(batch["rgb"], batch["index"], strict=True):
            distance = np.linalg.norm(means - rgb.mean(axis=(0, 1)), axis=1)
            ranks.append((distance < distance[i]).sum())
    assert np.mean(ranks) < 3


def test_the_same_call_gives_the_same_batches(source, expected):
    assert_same(take(source), expected)


def test_another_seed_gives_other_batches(source, expected):
    other = take(source, seed=4)
    assert not np.array_equal(other[0]["index"], expected[0]["index"])
    assert not np.array_equal(other[0]["rgb"], expected[0]["rgb"])


@pytest.mark.parametrize("cache", [True, False])
def test_values_do_not_depend_on_keeping_decoded_pictures(source, expected, cache):
    assert_same(take(source, cache=cache), expected)


def test_resuming_is_exact(source, expected):
    for start in range(1, len(expected)):
        assert_same(take(source, len(expected) - start, start * BATCH), expected[start:])


def test_reading_starts_at_the_position_and_nowhere_else(source, monkeypatch):
    read, decode = [], StoredSource.read
    monkeypatch.setattr(pipeline, "available_cores", lambda: 1)
    monkeypatch.setattr(StoredSource, "read", lambda self, i, **size: read.append(i) or decode(self, i, **size))
    take(source, 1, position=10, batch_size=1, workers=0, cache=False)
    order = Order(source.parts, 3)
    assert read == [order(n) for n in range(10, 10 + len(read))] and len(read) < 10


@pytest.mark.parametrize("count", [2, 4, 8])
def test_the_global_batch_is_the_same_for_any_number_of_processes(source, expected, count):
    parts = [take(source, process_index=i, process_count=count) for i in range(count)]
    assert parts[0][0]["rgb"].shape[0] == BATCH // count
    assert_same(join(parts), expected)


def test_resuming_on_another_number_of_processes(source, expected):
    assert_same(join([take(source, 3, 3 * BATCH, process_index=i, process_count=4) for i in range(4)]), expected[3:])


@pytest.mark.parametrize("count", [1, 2])
def test_resuming_with_another_batch_size_goes_on_with_the_next_sample(source, expected, count):
    """8 + 8, then batches of 12: the sequence of samples goes on where it was, none twice and none left out."""
    whole = np.concatenate([batch["rgb"] for batch in expected])
    parts = [take(source, 2, 2 * BATCH, batch_size=12, process_index=i, process_count=count) for i in range(count)]
    rows = np.concatenate([batch["rgb"] for batch in join(parts)])
    np.testing.assert_array_equal(rows, whole[16:40])


def test_an_epoch_holds_each_picture_once_and_its_order_is_new(source):
    order = np.concatenate([batch["index"] for batch in take(source, 9, batch_size=7)]).reshape(3, 21)
    assert (np.sort(order) == np.arange(21)).all()
    assert not np.array_equal(order[0], order[1]) and not np.array_equal(order[1], order[2])
    assert not np.array_equal(order[0], np.arange(21))


def test_crops_and_flips_are_new_in_every_epoch(source):
    batches = take(source, 6, batch_size=7)
    first, second = (
        {int(i): rgb for batch in part for rgb, i in zip(batch["rgb"], batch["index"], strict=True)}
        for part in (batches[:3], batches[3:])
    )
    assert sum(np.array_equal(first[i], second[i]) for i in first) == 0


def test_a_batch_may_be_larger_than_the_source(source):
    (batch,) = take(source, 1, batch_size=50)
    assert (np.bincount(batch["index"], minlength=21) >= 2).all()


def test_worker_processes_give_the_same_batches(source, expected):
    assert_same(take(source, workers=2), expected)


def test_worker_processes_need_no_parsed_flags(folder):
    """As in a plain script, where nobody parses absl's flags."""
    program = f"""
from palgan_jax.data.train_batches import train_batches
from palgan_jax.data.source import open_source
if __name__ == "__main__":
    with train_batches(open_source({str(folder)!r}), resolution=32, batch_size=4, seed=0, workers=1) as batches:
        print(next(batches)["rgb"].shape)
"""
    script = folder.parent / "script.py"
    script.write_text(program)
    root = Path(pipeline.__file__).parents[2]
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env={"PYTHONPATH": str(root)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(4, 32, 32, 3)"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_becomes_unreadable_is_replaced_counted_and_named(fragile, expected, workers):
    source, root = fragile
    (root / source.picture_name(5)).write_bytes(b"")
    (root / source.picture_name(20)).unlink()
    with train_batches(
        source, resolution=SIDE, batch_size=BATCH, seed=3, workers=workers, cache=False, max_replaced=0.1
    ) as batches:
        got = [next(batches) for _ in range(len(expected))]
    due = np.concatenate([batch["index"] for batch in expected])
    index = np.concatenate([batch["index"] for batch in got])
    replaced = np.concatenate([batch["replaced"] for batch in got])
    bad = np.isin(due, (5, 20))
    assert bad.sum() >= 3
    np.testing.assert_array_equal(replaced, np.where(bad, due, -1))
    np.testing.assert_array_equal(index, np.where(bad, (due + 1) % 21, due))
    assert batches.replaced == {source.picture_name(i): (due == i).sum() for i in (5, 20)}
    # All other rows are what they would have been.
    whole, rows = (np.concatenate([batch["rgb"] for batch in part]) for part in (expected, got))
    np.testing.assert_array_equal(rows[~bad], whole[~bad])


def test_too_many_unreadable_pictures_end_the_run_and_are_named(fragile):
    source, root = fragile
    names = [source.picture_name(i) for i in (2, 7, 12, 17)]
    for name in names:
        (root / name).write_bytes(b"no picture")
    options = {"resolution": SIDE, "batch_size": 7, "seed": 3, "cache": False}
    with train_batches(source, **options, max_replaced=0.1) as batches:
        with pytest.raises(
            DataStopped, match=r"^3 of the first \d+ pictures of folder:.* more than 10.00%: "
        ) as caught:
            for _ in range(4):
                next(batches)
        assert sum(name in str(caught.value) for name in names) == 3
    with train_batches(source, **options, max_replaced=0.2) as batches:
        assert sum((next(batches)["replaced"] >= 0).sum() for _ in range(6)) == 8


def test_a_single_unreadable_picture_never_ends_a_run(fragile):
    source, root = fragile
    (root / source.picture_name(4)).unlink()
    with train_batches(source, resolution=SIDE, batch_size=21, seed=3, cache=False, max_replaced=0) as batches:
        assert [int((next(batches)["replaced"] >= 0).sum()) for _ in range(5)] == [1] * 5


def test_share_of_replaced_pictures_is_taken_of_a_thousand_at_first():
    replacements = Replacements("set", 50_000, 0.01)
    replacements.add(64, [f"p{i}" for i in range(10)])
    replacements.add(64, ["p3"] * 20)  # the same again says nothing new
    with pytest.raises(DataStopped, match=r"^11 of the first 129 pictures of set .*p0, p1, p2, p3, p4 and 6 more"):
        replacements.add(1, ["p10"])
    replacements = Replacements("set", 50_000, 0.01)
    replacements.add(5000, [f"p{i}" for i in range(50)])
    with pytest.raises(DataStopped, match=r"1\.00%"):
        replacements.add(0, ["p50"])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_that_vanishes_ends_with_a_sentence(fragile, workers):
    source, root = fragile
    with train_batches(source, resolution=SIDE, batch_size=BATCH, seed=3, workers=workers, cache=False) as batches:
        next(batches)
        shutil.rmtree(root)
        started = time.monotonic()
        with pytest.raises(DataStopped, match=rf"^{root} with the pictures of {source.name} is gone: bring it back"):
            for _ in range(100):
                next(batches)
        assert type(batches.position) is int and batches.position < 40 * BATCH
        assert time.monotonic() - started < 10


def test_pictures_that_all_vanish_end_with_a_sentence(fragile):
    source, root = fragile
    for i in range(len(source)):
        (root / source.picture_name(i)).unlink()
    with (
        train_batches(source, resolution=SIDE, batch_size=BATCH, seed=3, cache=False) as batches,
        pytest.raises(
            DataStopped, match=r"has 21 pictures in a row that cannot be read any more, .* no file .* path\.$"
        ),
    ):
        next(batches)


def test_a_killed_worker_is_reported_with_its_picture(source):
    with train_batches(source, resolution=SIDE, batch_size=BATCH, seed=3, workers=2) as batches:
        for _ in range(2):
            next(batches)
        pids = [pid for pid, _ in batches._notes.read()]
        assert len(set(pids)) == 2 and all(pid > 0 for pid in pids)
        os.kill(pids[1], signal.SIGKILL)
        started = time.monotonic()
        with pytest.raises(
            DataStopped, match=r"^a worker process was killed by SIGKILL while it read \d\d\.(jpg|png): "
        ):
            for _ in range(100):
                next(batches)
        assert time.monotonic() - started < 10
    assert time.monotonic() - started < 15, "closing hangs"
    assert not multiprocessing.active_children()


@dataclasses.dataclass(frozen=True)
class Deadly(StoredSource):
    """A picture of this source ends the process that reads it, as a bug in a decoder would."""

    def read(self, i, *, at_least=None):
        if i == 11:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().read(i, at_least=at_least)


def test_a_picture_that_kills_its_worker_is_named(source):
    fields = {field.name: getattr(source, field.name) for field in dataclasses.fields(source)}
    with (
        train_batches(Deadly(**fields), resolution=SIDE, batch_size=BATCH, seed=3, workers=1) as batches,
        pytest.raises(
            DataStopped, match=f"^a worker process was killed by SIGSEGV while it read {source.picture_name(11)}"
        ),
    ):
        for _ in range(10):
            next(batches)


def test_a_killed_process_leaves_neither_workers_nor_shared_memory(folder):
    program = f"""
import os, signal
from pathlib import Path
from palgan_jax.data.train_batches import train_batches
from palgan_jax.data.source import open_source
if __name__ == "__main__":
    before = set(Path("/dev/shm").glob("psm_*"))
    batches = train_batches(open_source({str(folder)!r}), resolution=96, batch_size=4, seed=0, workers=1)
    batch = next(batches)
    print(*(f"/proc/{{pid}}" for pid, _ in batches._notes.read()))
    print(*(set(Path("/dev/shm").glob("psm_*")) - before), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    script = folder.parent / "killed.py"
    script.write_text(program)
    root = Path(pipeline.__file__).parents[2]
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env={"PYTHONPATH": str(root)})
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = [Path(name) for name in done.stdout.split()]
    assert len(left) >= 2 and left[0].parent == Path("/proc")
    until = time.monotonic() + 10
    while any(path.exists() for path in left) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [path for path in left if path.exists()]


@pytest.mark.parametrize(
    ("cores", "cached", "asked", "expected"),
    [
        (1, False, "auto", 0),
        (2, False, "auto", 0),
        (8, False, "auto", 7),
        (8, True, "auto", 0),
        (500, False, "auto", 32),
        (2, False, 5, 5),
        (8, False, "3", 3),
        (8, False, 0, 0),
    ],
)
def test_number_of_workers_follows_the_machine(monkeypatch, cores, cached, asked, expected):
    monkeypatch.setattr(pipeline, "available_cores", lambda: cores)
    assert pipeline._worker_count(asked, cached) == expected


def test_small_sources_are_kept_in_memory(source, monkeypatch):
    def is_kept(**options) -> bool:
        with train_batches(source, resolution=SIDE, batch_size=BATCH, seed=3, **options) as batches:
            return batches._fill._kept is not None

    assert source.decoded_bytes(None) < CACHE_BYTES
    assert is_kept() and is_kept(workers=0)
    assert not is_kept(workers=2), "each worker would keep its own copy"
    monkeypatch.setattr(pipeline, "CACHE_BYTES", 10_000)
    assert not is_kept()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"batch_size": 9, "process_count": 2},
            "a batch of 9 cannot be shared equally among 2 processes: make it a multiple of 2",
        ),
        ({"batch_size": 0}, "at least 1"),
        ({"workers": -1}, "number of workers"),
        ({"workers": "many"}, "number of workers"),
        ({"min_scale": 0}, "min_scale must be in"),
    ],
)
def test_bad_options(source, options, sentence):
    with pytest.raises(UserError, match=sentence):
        train_batches(source, **{"resolution": SIDE, "batch_size": BATCH, "seed": 3, **options})


# ---------------------------------------------------------------- mixtures


@pytest.fixture(scope="module")
def mixture(folder, samples) -> MixtureSource:
    return open_source(f"3 folder:{folder} + 1 folder:{samples}", near_gray=0)


def test_a_mixture_is_the_same_for_processes_workers_and_after_resuming(mixture):
    expected = take(mixture, 6)
    assert_same(take(mixture, workers=2), expected)
    assert_same(join([take(mixture, 3, 3 * BATCH, process_index=i, process_count=4) for i in range(4)]), expected[3:])
    index = np.concatenate([batch["index"] for batch in expected])
    assert (index < 21).sum() == 36  # 3 of 4 of the 48
    assert sorted(index[index < 21][:21]) == list(range(21))


def test_a_bad_picture_of_a_mixture_is_replaced_from_its_own_part(fragile, samples):
    source, root = fragile
    mixture = open_source(f"1 folder:{root} + 1 folder:{samples}", near_gray=0)
    (root / source.picture_name(20)).unlink()
    replaced = {}
    for batch in take(mixture, 6, cache=False):
        replaced |= {int(r): int(i) for i, r in zip(batch["index"], batch["replaced"], strict=True) if r >= 0}
    assert replaced == {20: 0}


# ---------------------------------------------------------------- evaluation


def test_eval_goes_through_all_in_order_and_masks_the_rest(source):
    batches = eval_batches(source, resolution=SIDE, batch_size=BATCH)
    got = list(batches)
    assert len(got) == len(batches) == 3
    assert [batch["rgb"].shape for batch in got] == [(BATCH, SIDE, SIDE, 3)] * 3
    assert np.concatenate([batch["index"] for batch in got]).tolist() == [*range(21), -1, -1, -1]
    assert np.concatenate([batch["mask"] for batch in got]).tolist() == [True] * 21 + [False] * 3
    assert got[-1]["rgb"][-3:].max() == 0
    for i in range(21):
        whole = Image.fromarray(source.read(i)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        assert np.abs(got[i // BATCH]["rgb"][i % BATCH].astype(int) - np.asarray(whole)).mean() < 4


@pytest.mark.parametrize("limit", [CACHE_BYTES, 0])
def test_eval_can_be_repeated_kept_or_not(source, monkeypatch, limit):
    monkeypatch.setattr(pipeline, "CACHE_BYTES", limit)
    batches = eval_batches(source, resolution=SIDE, batch_size=BATCH)
    next(iter(batches))  # one that is given up early must not spoil the next
    assert_same(list(batches), list(batches))


@pytest.mark.parametrize("count", [2, 4, 8])
def test_eval_shares_have_the_same_number_of_batches_and_join_to_the_same(source, count):
    options = {"resolution": SIDE, "batch_size": BATCH}
    parts = [list(eval_batches(source, **options, process_index=i, process_count=count)) for i in range(count)]
    assert {len(part) for part in parts} == {3}
    assert_same(join(parts), list(eval_batches(source, **options)))


def test_eval_masks_and_names_what_has_become_unreadable(fragile):
    source, root = fragile
    (root / source.picture_name(9)).write_bytes(b"")
    batches = eval_batches(source, resolution=SIDE, batch_size=BATCH)
    mask = np.concatenate([batch["mask"] for batch in batches])
    assert np.flatnonzero(~mask).tolist() == [9, 21, 22, 23]
    assert batches.unreadable == {source.picture_name(9)}


def test_eval_bad_share(source):
    with pytest.raises(UserError, match="cannot be shared"):
        eval_batches(source, resolution=SIDE, batch_size=9, process_count=2)


def test_photographs_flow(photos, tmp_path):
    source = open_source(f"folder:{photos / 'val'}", cache_dir=tmp_path)
    (batch,) = take(source, 1, resolution=64, batch_size=32)
    assert batch["rgb"].shape == (32, 64, 64, 3)
