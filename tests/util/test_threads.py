"""The map over threads."""

import threading
import time

import pytest

from palgan_jax.errors import UserError
from palgan_jax.util.threads import ordered_map


def test_results_come_in_order_and_only_some_are_made_ahead():
    started, lock = [], threading.Lock()

    def slow(i: int) -> int:
        with lock:
            started.append(i)
        time.sleep(0.02 if i % 2 else 0)
        if i == 20:
            raise UserError("number 20.")
        return i * i

    results = ordered_map(slow, range(100), workers=2, ahead=4)
    assert [next(results) for _ in range(10)] == [i * i for i in range(10)]
    assert max(started) <= 10 + 4
    with pytest.raises(UserError, match="number 20"):
        list(results)
    assert max(started) <= 20 + 5
