"""The optimizers beside optax's Adam, and their learning rates."""

import jax
import numpy as np
import optax
import pytest

from palgan_jax.config import default_config
from palgan_jax.training.optimizers import make_optimizers, schedule


@pytest.mark.parametrize("b1", [0.0, 0.5])
def test_the_updates_are_adams(b1):
    optim = default_config().optim
    optim.b1 = b1
    ours, _ = make_optimizers(optim, 2, 8)
    theirs = optax.adam(schedule(optim.g_lr, 2, 8), b1=b1, b2=optim.b2)
    rng = np.random.default_rng(0)
    params = {"kernel": rng.normal(size=(3, 4)).astype(np.float32), "bias": np.zeros(4, np.float32)}
    mine, other = ours.init(params), theirs.init(params)
    for _ in range(5):
        gradients = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), params)
        found, mine = ours.update(gradients, mine, params)
        wanted, other = theirs.update(gradients, other, params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, wanted)


def test_a_first_moment_that_is_the_gradient_is_not_kept():
    params = {"kernel": np.zeros((3, 4), np.float32)}
    for optimizer in make_optimizers(default_config().optim, 2, 8):
        arrays = [leaf for leaf in jax.tree.leaves(optimizer.init(params)) if leaf.shape == (3, 4)]
        assert len(arrays) == 1


def test_the_rate_is_constant_and_then_falls_to_nothing():
    rate = schedule(2.0, 4, 8)
    assert [float(rate(step)) for step in (0, 3, 4, 6, 8, 9)] == [2, 2, 2, 1, 0, 0]
