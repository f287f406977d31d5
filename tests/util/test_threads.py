"""The map over threads."""

import contextlib
import threading
import time
import warnings

import pytest

from palgan_jax.errors import UserError
from palgan_jax.util.threads import SharedContext, ordered_map


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


def test_a_shared_context_is_entered_by_the_first_user_and_left_by_the_last():
    inside = []
    shared = SharedContext(lambda: contextlib.nullcontext(inside.append("entered")))
    with shared, shared:
        assert inside == ["entered"]
    with shared:
        assert inside == ["entered"] * 2


def test_overlapping_threads_restore_a_setting_of_the_process():
    before = warnings.filters[:]
    shared = SharedContext(lambda: warnings.catch_warnings(action="ignore"))
    first_inside, second_inside = threading.Event(), threading.Event()

    def second() -> None:
        assert first_inside.wait(600)
        with shared:
            second_inside.set()
            time.sleep(0.05)

    thread = threading.Thread(target=second)
    thread.start()
    with shared:
        first_inside.set()
        assert second_inside.wait(600)
    thread.join()
    assert warnings.filters == before
