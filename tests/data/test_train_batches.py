import shutil
from dataclasses import replace

import numpy as np
import pytest

from palgan_jax.data import shares
from palgan_jax.data import train_batches as batches_lib
from palgan_jax.data.mixture import MixtureSource
from palgan_jax.data.order import Order
from palgan_jax.data.shares import CACHE_BYTES
from palgan_jax.data.source import StoredSource, open_source
from palgan_jax.data.train_batches import train_batches
from palgan_jax.errors import DataStopped, UserError
from tests.support.batches import BATCH, SIDE, assert_same, join, take


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
    monkeypatch.setattr(shares, "available_cores", lambda: 1)
    source = replace(source)  # threads of earlier tests may still read ahead from theirs

    def spy(self, i, **size):
        if self is source:
            read.append(i)
        return decode(self, i, **size)

    monkeypatch.setattr(StoredSource, "read", spy)
    take(source, 1, position=10, batch_size=1, workers=0, cache=False)
    order = Order(source.parts, 3)
    # Threads read ahead, in any order.
    assert order(10) in read and set(read) <= {order(n) for n in range(10, 20)}


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
    pixels = np.concatenate([batch["rgb"] for batch in expected])
    parts = [take(source, 2, 2 * BATCH, batch_size=12, process_index=i, process_count=count) for i in range(count)]
    rows = np.concatenate([batch["rgb"] for batch in join(parts)])
    np.testing.assert_array_equal(rows, pixels[16:40])


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


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_becomes_unreadable_is_replaced_counted_and_named(fragile, expected, workers):
    source, root = fragile
    (root / source.picture_name(5)).write_bytes(b"")
    (root / source.picture_name(20)).unlink()
    with train_batches(
        source, resolution=SIDE, batch_size=BATCH, seed=3, workers=workers, cache=False, max_replaced=0.1
    ) as batches:
        result = [next(batches) for _ in range(len(expected))]
    indices = np.concatenate([batch["index"] for batch in expected])
    index = np.concatenate([batch["index"] for batch in result])
    replaced = np.concatenate([batch["replaced"] for batch in result])
    bad = np.isin(indices, (5, 20))
    assert bad.sum() >= 3
    np.testing.assert_array_equal(replaced, np.where(bad, indices, -1))
    np.testing.assert_array_equal(index, np.where(bad, (indices + 1) % 21, indices))
    assert batches.replaced == {source.picture_name(i): (indices == i).sum() for i in (5, 20)}
    # All other rows are what they would have been.
    expected_pixels, rows = (np.concatenate([batch["rgb"] for batch in part]) for part in (expected, result))
    np.testing.assert_array_equal(rows[~bad], expected_pixels[~bad])


def test_too_many_unreadable_pictures_end_the_run_and_are_named(fragile):
    source, root = fragile
    names = [source.picture_name(i) for i in (2, 7, 12, 17)]
    for name in names:
        (root / name).write_bytes(b"no picture")
    options = {"resolution": SIDE, "batch_size": 7, "seed": 3, "cache": False}
    with train_batches(source, **options, max_replaced=0.1) as batches:
        with pytest.raises(DataStopped, match=r"^3 of the first \d+ pictures of folder:.* more than 10.00%: ") as error:
            for _ in range(4):
                next(batches)
        assert sum(name in str(error.value) for name in names) == 3
    with train_batches(source, **options, max_replaced=0.2) as batches:
        assert sum((next(batches)["replaced"] >= 0).sum() for _ in range(6)) == 8


def test_a_single_unreadable_picture_never_ends_a_run(fragile):
    source, root = fragile
    (root / source.picture_name(4)).unlink()
    with train_batches(source, resolution=SIDE, batch_size=21, seed=3, cache=False, max_replaced=0) as batches:
        assert [int((next(batches)["replaced"] >= 0).sum()) for _ in range(5)] == [1] * 5


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_that_vanishes_ends_with_a_sentence(fragile, workers):
    source, root = fragile
    with train_batches(source, resolution=SIDE, batch_size=BATCH, seed=3, workers=workers, cache=False) as batches:
        next(batches)
        shutil.rmtree(root)
        with pytest.raises(DataStopped, match=rf"^{root} with the pictures of {source.name} is gone: bring it back"):
            for _ in range(100):
                next(batches)
        assert type(batches.position) is int and batches.position < 40 * BATCH


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


def test_small_sources_are_kept_in_memory(source, monkeypatch):
    def is_kept(**options) -> bool:
        with train_batches(source, resolution=SIDE, batch_size=BATCH, seed=3, **options) as batches:
            return batches._make._cache is not None

    assert source.decoded_bytes(None) < CACHE_BYTES
    assert is_kept() and is_kept(workers=0)
    assert not is_kept(workers=2), "each worker would keep its own copy"
    monkeypatch.setattr(batches_lib, "CACHE_BYTES", 10_000)
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
    replacements = {}
    for batch in take(mixture, 6, cache=False):
        replacements |= {int(r): int(i) for i, r in zip(batch["index"], batch["replaced"], strict=True) if r >= 0}
    assert replacements == {20: 0}


def test_photographs_flow(photos, tmp_path):
    source = open_source(f"folder:{photos / 'val'}", cache_dir=tmp_path)
    (batch,) = take(source, 1, resolution=64, batch_size=32)
    assert batch["rgb"].shape == (32, 64, 64, 3)
