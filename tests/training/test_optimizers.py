"""The optimizers beside optax's Adam, and their learning rates."""

import jax
import numpy as np
import optax
import pytest

from palgan_jax.config import Phases, default_config
from palgan_jax.training.optimizers import make_optimizers, schedule


@pytest.mark.parametrize("b1", [0.0, 0.5])
def test_the_updates_are_adams(b1):
    config = default_config()
    optim = config.optim
    optim.b1 = b1
    optimizer, _ = make_optimizers(config, Phases(8, 2))
    reference = optax.adam(schedule(optim.g_lr, 2, 8), b1=b1, b2=optim.b2)
    rng = np.random.default_rng(0)
    params = {"kernel": rng.normal(size=(3, 4)).astype(np.float32), "bias": np.zeros(4, np.float32)}
    state, reference_state = optimizer.init(params), reference.init(params)
    for _ in range(5):
        gradients = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), params)
        updates, state = optimizer.update(gradients, state, params)
        expected, reference_state = reference.update(gradients, reference_state, params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updates, expected)


def test_a_first_moment_that_is_the_gradient_is_not_kept():
    params = {"kernel": np.zeros((3, 4), np.float32)}
    for optimizer in make_optimizers(default_config(), Phases(8, 2)):
        arrays = [leaf for leaf in jax.tree.leaves(optimizer.init(params)) if leaf.shape == (3, 4)]
        assert len(arrays) == 1


def test_the_rate_is_constant_and_then_falls_to_nothing():
    rate = schedule(2.0, 4, 8)
    assert [float(rate(step)) for step in (0, 3, 4, 6, 8, 9)] == [2, 2, 2, 1, 0, 0]


def test_a_cosine_falls_to_nothing():
    rate = schedule(2.0, 4, 8, "cosine")
    np.testing.assert_allclose([rate(step) for step in (0, 4, 6, 8)], [2, 2, 1, 0], atol=1e-6)


def pretrained(frozen: int, encoder_from: int):
    """Optimizer of E + G with a pretrained encoder, and small parameters of its structure."""
    config = default_config()
    config.net.encoder = "efficientnet_lite0"
    config.net.frozen_blocks = frozen
    config.optim.b1, config.optim.encoder_rate, config.optim.weight_decay = 0.9, 0.2, 0.1
    optimizer, _ = make_optimizers(config, Phases(100, 100, encoder_from=encoder_from))
    kernel = {"kernel": np.ones((3, 4), np.float32)}
    encoder = {name: dict(kernel) for name in ("stem", *(f"block_{i}" for i in range(16)), "head")}
    params = {"palette_generator": {"encoder": encoder, "tap_0": dict(kernel)}, "assignment_generator": dict(kernel)}
    return config, optimizer, params


@pytest.mark.parametrize("frozen", [0, 11, 17])
def test_frozen_blocks_are_left_as_they_are_and_have_no_state(frozen):
    config, optimizer, params = pretrained(frozen, 0)
    state = optimizer.init(params)
    trained = 0 if frozen == 17 else 18 - frozen - (frozen > 0)
    assert sum(leaf.shape == (3, 4) for leaf in jax.tree.leaves(state)) == 2 * (trained + 2)
    gradients = jax.tree.map(np.ones_like, params)
    updates, _ = optimizer.update(gradients, state, params)
    steps = {name: float(part["kernel"][0, 0]) for name, part in updates["palette_generator"]["encoder"].items()}
    rest = float(updates["palette_generator"]["tap_0"]["kernel"][0, 0])
    assert rest == pytest.approx(-config.optim.g_lr * 1.1, rel=1e-3), (
        "Adam's first step, and the decay of a kernel of 1"
    )
    assert sum(step != 0 for step in steps.values()) == trained
    assert all(step == pytest.approx(0.2 * rest, rel=1e-3) for step in steps.values() if step)
    assert frozen == 0 or steps["stem"] == 0
    assert frozen == 17 or steps["head"] != 0


def test_a_pretrained_encoder_waits_for_its_turn():
    _, optimizer, params = pretrained(11, 2)
    state, steps = optimizer.init(params), []
    for _ in range(4):
        updates, state = optimizer.update(jax.tree.map(np.ones_like, params), state, params)
        steps.append(bool(updates["palette_generator"]["encoder"]["head"]["kernel"].any()))
    assert steps == [False, False, True, True]


def test_a_large_gradient_is_clipped():
    config = default_config()
    config.optim.clip = 1.0
    optimizer, _ = make_optimizers(config, Phases(8, 2))
    params = {"kernel": np.zeros((3, 4), np.float32)}
    large, small = 100 * np.ones((3, 4), np.float32), np.ones((3, 4), np.float32) / 12**0.5
    state = optimizer.init(params)
    moments = [optimizer.update({"kernel": g}, state, params)[1] for g in (large, small)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), *moments)
