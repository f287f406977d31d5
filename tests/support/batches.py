"""Batches of a source, taken and compared."""

import numpy as np

from palgan_jax.data.train_batches import train_batches

SIDE = 32
BATCH = 8


def take(source, count: int = 6, position: int = 0, **options) -> list[dict[str, np.ndarray]]:
    options = {"resolution": SIDE, "batch_size": BATCH, "seed": 3, **options}
    with train_batches(source, position=position, **options) as batches:
        result = [next(batches) for _ in range(count)]
        assert batches.position == position + count * options["batch_size"]
        return result


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
