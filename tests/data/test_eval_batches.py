import numpy as np
import pytest
from PIL import Image

from palgan_jax.data import eval_batches as batches_lib
from palgan_jax.data.eval_batches import eval_batches
from palgan_jax.data.shares import CACHE_BYTES
from palgan_jax.errors import UserError
from tests.support.batches import BATCH, SIDE, assert_same, join


def test_eval_goes_through_all_in_order_and_masks_the_rest(source):
    batches = eval_batches(source, resolution=SIDE, batch_size=BATCH)
    result = list(batches)
    assert len(result) == len(batches) == 3
    assert [batch["rgb"].shape for batch in result] == [(BATCH, SIDE, SIDE, 3)] * 3
    assert np.concatenate([batch["index"] for batch in result]).tolist() == [*range(21), -1, -1, -1]
    assert np.concatenate([batch["mask"] for batch in result]).tolist() == [True] * 21 + [False] * 3
    assert result[-1]["rgb"][-3:].max() == 0
    for i in range(21):
        expected = Image.fromarray(source.read(i)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        assert np.abs(result[i // BATCH]["rgb"][i % BATCH].astype(int) - np.asarray(expected)).mean() < 4


@pytest.mark.parametrize("limit", [CACHE_BYTES, 0])
def test_eval_can_be_repeated_kept_or_not(source, monkeypatch, limit):
    monkeypatch.setattr(batches_lib, "CACHE_BYTES", limit)
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
