"""One thing at a time, and nothing that nobody waits for."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from palgan_jax.web.work import Superseded, Work


async def stays():
    return False


async def leaves():
    return True


def run(scenario):
    """Runs a scenario with work of which both threads are blocked until the event is set."""

    async def whole():
        work, go = Work(), threading.Event()
        blocked = [asyncio.create_task(do) for do in (work.preview(0, go.wait, stays), work.whole(go.wait, stays))]
        await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        try:
            await scenario(work, go)
        finally:
            go.set()
            await asyncio.gather(*blocked)

    with ThreadPoolExecutor(1) as pool:  # the browser's tests leave a loop in this one
        pool.submit(asyncio.run, whole()).result()


def test_of_previews_of_a_picture_the_newest_alone_waits():
    async def scenario(work, go):
        done = []
        calls = [asyncio.create_task(work.preview(key, lambda i=i: done.append(i) or i, stays))
                 for i, key in enumerate(["a", "a", "b", "a"])]  # fmt: skip
        await asyncio.sleep(0.05)
        go.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [Superseded, Superseded, int, int]
        assert done == [2, 3]

    run(scenario)


@pytest.mark.parametrize("kind", ["preview", "whole"])
def test_work_is_dropped_when_the_one_who_waits_leaves(kind):
    async def scenario(work, go):
        results = []
        do = (lambda: results.append(1), leaves)
        with pytest.raises(Superseded):
            await (work.preview("a", *do) if kind == "preview" else work.whole(*do))
        go.set()
        await work.whole(lambda: None, stays)
        await work.preview("a", lambda: None, stays)
        assert not results

    run(scenario)


def test_errors_of_work_are_those_of_the_call():
    async def scenario(work, go):
        go.set()
        with pytest.raises(ZeroDivisionError):
            await work.preview("a", lambda: 1 / 0, stays)
        assert await work.preview("a", lambda: 5, stays) == 5

    run(scenario)
