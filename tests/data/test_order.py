import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from palgan_jax.data import order as order_lib
from palgan_jax.data.order import PERIOD, Order
from palgan_jax.data.protocols import Part

MIX = (Part(0, 40, 0.7), Part(40, 47, 0.2), Part(47, 147, 0.1))


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_each_epoch_is_another_permutation(count):
    order = Order((Part(0, count, 1.0),), seed=5)
    epochs = np.array([order(n) for n in range(4 * count)]).reshape(4, count)
    assert (np.sort(epochs) == np.arange(count)).all()
    if count > 2:
        assert len({tuple(epoch) for epoch in epochs}) == 4
    if count == 1000:
        # Nothing of the numbering is left, and nothing of one epoch in the next.
        for first, second in ((np.arange(count), epochs[0]), (epochs[0], epochs[1])):
            assert abs(np.corrcoef(first, second)[0, 1]) < 0.1
            assert (first == second).sum() < 10


def test_access_is_random():
    order, repeat = Order(MIX, 3), Order(MIX, 3)
    numbers = [order(n) for n in range(25_000)]
    places = np.random.default_rng(0).permutation(25_000)[:2000]
    assert [repeat(int(n)) for n in places] == [numbers[n] for n in places]
    assert [pickle.loads(pickle.dumps(order))(n) for n in (0, 24_999)] == [numbers[0], numbers[-1]]
    assert Order(MIX, 4)(0) != numbers[0] or Order(MIX, 4)(1) != numbers[1]
    assert 0 <= order(10**14) < 147


def test_the_order_is_what_it_was_in_earlier_versions():
    """A run must go on with the very same samples after an update of this package or of NumPy."""
    order = Order(MIX, 3)
    assert [order(n) for n in (*range(10), 10**6, 10**12)] == [9, 31, 42, 27, 30, 144, 7, 44, 32, 8, 34, 25]


def test_parts_have_their_shares_everywhere_and_are_each_gone_through():
    order = Order(MIX, 3)
    numbers = np.array([order(n) for n in range(30_000)])
    part = np.digitize(numbers, [40, 47])
    for number, (start, stop, weight) in enumerate(MIX):
        for first in (0, 1234, 9990, 20_000):
            for length in (10, 100, 1000):
                count = (part[first : first + length] == number).sum()
                assert abs(count - weight * length) <= 2
        numbers_of_part = numbers[part == number]
        epochs = numbers_of_part[: len(numbers_of_part) // (stop - start) * (stop - start)].reshape(-1, stop - start)
        assert len(epochs) >= 2 and (np.sort(epochs) == np.arange(start, stop)).all()
        assert not np.array_equal(epochs[0], epochs[1])


def test_weights_need_not_add_up_to_one_and_the_smallest_is_not_lost():
    order = Order((Part(0, 10, 3.0), Part(10, 20, 1.0), Part(20, 30, 1e-6)), 0)
    part = np.array([order(n) for n in range(20_000)]) // 10
    assert np.bincount(part).tolist() == [14_998, 5_000, 2]


@given(st.lists(st.floats(1e-12, 1e12), min_size=2, max_size=30))
@example([1.0, 1e-9, 1e-9])
def test_every_part_is_drawn_and_has_its_share_of_a_period(weights):
    part, rank = order_lib._period(weights)
    counts = np.bincount(part, minlength=len(weights))
    assert counts.min() >= 1 and counts.sum() == PERIOD
    shares = np.array(weights) / sum(weights) * PERIOD
    assert abs(counts - shares).max() <= len(weights)
    assert all((rank[part == number] == np.arange(count)).all() for number, count in enumerate(counts))


def test_only_the_permutations_at_work_are_kept():
    order = Order((Part(0, 50, 0.5), Part(50, 100, 0.5)), 0)
    for n in range(5000):
        order(n)
    assert len(order._epochs) == 4
