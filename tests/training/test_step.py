"""The training step: what it computes, and what its compiled program holds."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from palgan_jax.color import lab_to_rgb, normalize_lab, render, rgb_to_lab
from palgan_jax.config import default_config, palette_spec
from palgan_jax.data.device import abstract_lab_batch, make_lab_stage
from palgan_jax.distributed import mesh as sharding
from palgan_jax.nn.build import build_discriminator, build_generator
from palgan_jax.palette.histogram import entropy, histogram
from palgan_jax.training.state import TrainState, ema_variables, init_state
from palgan_jax.training.step import make_predict, make_train_step

SIZE, BATCH = 64, 16


def tiny(**fields: Any) -> ConfigDict:
    config = default_config()
    config.resolution, config.batch_size = SIZE, BATCH
    config.net.width = config.discriminator.width = 1 / 16
    config.loss.perceptual = 0.0
    config.update_from_flattened_dict(fields)
    return config


def filled(abstract: TrainState) -> TrainState:
    """A state of these shapes: random parameters and spectral vectors, everything else zero or one."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        name = jax.tree_util.keystr(path)
        if "opt" in name or not leaf.shape or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return np.zeros(leaf.shape, np.int32 if leaf.dtype == jnp.int32 else np.float32)
        if "'kernel'" in name or "'u'" in name:
            fan_in = max(int(np.prod(leaf.shape[:-1])), 1)
            return (rng.normal(size=leaf.shape) * (2 / fan_in) ** 0.5).astype(np.float32)
        return np.full(leaf.shape, 1.0 if "'var'" in name else 0.0, np.float32)

    return jax.tree_util.tree_map_with_path(fill, abstract)


@dataclass
class Compiled:
    state: TrainState  # before the first step
    step: Any
    stage: Any  # of a host batch

    def walk(self, rgb: np.ndarray, steps: int) -> Iterator[tuple[TrainState, dict[str, float]]]:
        """The state and the metrics after each of several steps on the same batch."""
        state, batch = jax.tree.map(jnp.copy, self.state), self.stage({"rgb": rgb})
        for _ in range(steps):
            state, metrics = self.step(jax.tree.map(jnp.copy, state), batch, None)  # a step takes its state's buffers
            yield state, {name: float(value) for name, value in metrics.items()}

    def run(self, rgb: np.ndarray) -> tuple[TrainState, dict[str, float]]:
        return next(self.walk(rgb, 1))


def compile_step(config: ConfigDict, devices: int = 1, fsdp: int = 1, tx: optax.GradientTransformation | None = None):
    mesh = sharding.make_mesh(-1, fsdp, jax.devices()[:devices])
    generator, discriminator = build_generator(config), build_discriminator(config)
    tx = tx or optax.adam(1e-3, b1=0.0, b2=0.9)
    everywhere = sharding.replicated(mesh)

    def init(key):
        return init_state(key, generator, discriminator, tx, tx, config.resolution)

    key = jax.random.key(0)
    abstract = jax.eval_shape(init, key)
    shardings = sharding.state_shardings(mesh, abstract)
    # Random values are quicker to have from numpy than from a compiled initialization.
    state = jax.device_put(filled(abstract).replace(key=key), shardings)
    step = jax.jit(
        make_train_step(config, generator, discriminator, tx, tx, everywhere if fsdp > 1 else None),
        donate_argnums=0,
        in_shardings=(shardings, sharding.batch_sharding(mesh), everywhere),
        out_shardings=(shardings, everywhere),
    )
    lab = (palette_spec(config), config.ab_range, mesh)
    batch = abstract_lab_batch(config.batch_size, SIZE, *lab)
    return Compiled(state, step.lower(state, batch, None).compile(), make_lab_stage(*lab))


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    # Smooth random pictures: large patches of strong color.
    coarse = np.random.default_rng(0).integers(0, 256, (BATCH, 4, 4, 3))
    return np.kron(coarse, np.ones((1, SIZE // 4, SIZE // 4, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def compiled_step() -> Compiled:
    return compile_step(tiny())


@dataclass
class Trajectory:
    first: TrainState  # after one step
    last: TrainState
    metrics: list[dict[str, float]]  # of each step


@pytest.fixture(scope="module")
def trajectory(compiled_step, rgb) -> Trajectory:
    """Forty steps on one batch."""
    states, metrics = zip(*compiled_step.walk(rgb, 40), strict=True)
    return Trajectory(states[0], states[-1], list(metrics))


@pytest.fixture(scope="module")
def sharded() -> Compiled:
    patch = pytest.MonkeyPatch()
    patch.setattr(sharding, "SMALLEST_SHARDED", 256)  # tiny networks have no large arrays
    yield compile_step(tiny(), devices=8, fsdp=2)
    patch.undo()


def test_one_and_eight_devices_give_the_same_metrics(trajectory, sharded, rgb):
    expected, (_, metrics) = trajectory.metrics[0], sharded.run(rgb)
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=2e-4, atol=2e-5, err_msg=name)


def test_fsdp_splits_the_large_arrays_of_the_state(sharded):
    kernel = sharded.state.generator["params"]["assignment_generator"]["stem"]["kernel"]
    slot = sharded.state.g_opt[0].nu["assignment_generator"]["stem"]["kernel"]
    for array in (kernel, slot):
        assert array.addressable_shards[0].data.size == array.size // 2


def collectives(compiled: Compiled) -> set[str]:
    kinds = "all-to-all|collective-permute|all-gather|all-reduce|reduce-scatter"
    return set(re.findall(rf"\b({kinds})(?:-start)?\(", compiled.step.as_text()))


def test_data_parallel_needs_all_reduces_only(compiled_step, descent, sharded):
    """With the batch in parts, too: none of them moves from one device to another."""
    assert collectives(compiled_step) == set()
    assert collectives(descent[2].compiled) == {"all-reduce"}
    assert not collectives(sharded) & {"all-to-all", "collective-permute"}


def test_the_program_does_not_talk_to_the_host(compiled_step):
    assert not re.search(r"\b(infeed|outfeed|send|recv)\(|callback", compiled_step.step.as_text())


def test_donation_frees_the_old_state(compiled_step, rgb):
    state = jax.tree.map(jnp.copy, compiled_step.state)
    new_state, _ = compiled_step.step(state, compiled_step.stage({"rgb": rgb}), None)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state.generator, state.discriminator, state.g_opt)))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(new_state))
    memory = compiled_step.step.memory_analysis()
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves((state.generator, state.g_opt, state.ema)))
    assert memory.alias_size_in_bytes > state_bytes


def test_nothing_is_transferred_implicitly(compiled_step, rgb):
    state = jax.tree.map(jnp.copy, compiled_step.state)
    with jax.transfer_guard("disallow"):
        for _ in range(2):
            state, metrics = compiled_step.step(state, compiled_step.stage({"rgb": rgb}), None)
    assert int(state.step) == 2
    assert np.isfinite(float(metrics["loss/g"]))


DESCENT = {"net.norm": "instance"}


@dataclass
class Descended:
    compiled: Compiled
    gradients: list[Any]  # of E and G, and of D
    metrics: dict[str, float]


@pytest.fixture(scope="module")
def descent(rgb) -> dict[int, Descended]:
    """Steps of plain gradient descent at rate 1, so that the change is the gradient, without batch statistics.

    One device with the whole batch, and eight with the batch in two parts.
    """
    return {parts: descend(rgb, parts, devices) for parts, devices in ((1, 1), (2, 8))}


def descend(rgb: np.ndarray, parts: int, devices: int) -> Descended:
    compiled = compile_step(tiny(**DESCENT, accumulate=parts), devices, tx=optax.sgd(1.0))
    after, metrics = compiled.run(rgb)
    pairs = [
        (getattr(compiled.state, name)["params"], getattr(after, name)["params"])
        for name in ("generator", "discriminator")
    ]
    change = [jax.tree.map(lambda old, new: np.asarray(old) - np.asarray(new), old, new) for old, new in pairs]
    return Descended(compiled, change, metrics)


def as_vector(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_accumulation_equals_the_large_batch(descent):
    for one_player, other in zip(descent[1].gradients, descent[2].gradients, strict=True):
        expected, parts = as_vector(one_player), as_vector(other)
        assert np.linalg.norm(expected - parts) < 1e-3 * np.linalg.norm(expected)
    for name, value in descent[1].metrics.items():
        np.testing.assert_allclose(descent[2].metrics[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_the_joint_pass_gives_each_player_its_own_gradient(descent, rgb):
    """Against the textbook form: one loss a player, the other held fixed, D called on real and fake apart."""
    config, state = tiny(**DESCENT), descent[1].compiled.state
    generator, discriminator = build_generator(config), build_discriminator(config)

    @jax.jit
    def textbook(g_params, d_params, rgb):
        picture = rgb.astype(jnp.float32) / 255
        l, c = normalize_lab(rgb_to_lab(picture))
        h = histogram(c, palette_spec(config))

        def judge(d_params, c, rgb):
            variables = {**state.discriminator, "params": d_params}
            return discriminator.apply(variables, c, rgb, h, True, mutable=["spectral"])[0]

        def loss_g(g_params):
            variables = {**state.generator, "params": g_params}
            (h_hat, c_hat), _ = generator.apply(variables, l, h, True, mutable=["batch_stats", "spectral"])
            fake = judge(d_params, c_hat, render(l, c_hat))
            palette = jnp.abs(h_hat - h).sum(-1).mean() - 0.01 * entropy(h_hat).mean()
            return 10 * jnp.abs(c_hat - c).mean() - fake.mean() + palette, c_hat

        g_grads, c_hat = jax.grad(loss_g, has_aux=True)(g_params)

        def loss_d(d_params):
            real, fake = judge(d_params, c, picture * 2 - 1), judge(d_params, c_hat, render(l, c_hat))
            return jnp.maximum(1 - real, 0).mean() + jnp.maximum(1 + fake, 0).mean()

        return g_grads, jax.grad(loss_d)(d_params)

    expected = textbook(state.generator["params"], state.discriminator["params"], rgb)
    for gradient, expected_gradient in zip(descent[1].gradients, expected, strict=True):
        joint, apart = as_vector(gradient), as_vector(expected_gradient)
        assert np.linalg.norm(joint - apart) < 1e-3 * np.linalg.norm(apart)
        assert np.linalg.norm(apart) > 1e-3


def test_the_average_follows_parameters_and_statistics(compiled_step, trajectory):
    after = trajectory.first
    decay = min(tiny().ema, 1 / 10)  # the first step
    for collection in ("params", "batch_stats"):
        expected = jax.tree.map(
            lambda old, new: decay * np.asarray(old) + (1 - decay) * np.asarray(new),
            compiled_step.state.ema[collection],
            after.generator[collection],
        )
        jax.tree.map(lambda e, x: np.testing.assert_allclose(x, e, atol=1e-6), expected, after.ema[collection])
    assert set(ema_variables(after)) == {"params", "batch_stats", "spectral"}


def test_spectral_vectors_turn_toward_the_largest_singular_value(compiled_step, trajectory):
    def share(state: TrainState) -> float:
        """How much of the largest singular value the spectral vector sees."""
        kernel = np.asarray(state.generator["params"]["assignment_generator"]["stem"]["kernel"])
        u = np.asarray(state.generator["spectral"]["assignment_generator"]["stem"]["u"])[0]
        matrix = kernel.reshape(-1, kernel.shape[-1])
        sigma = np.linalg.norm(matrix @ (u / np.linalg.norm(u)))
        return float(sigma / np.linalg.svd(matrix, compute_uv=False)[0])

    assert share(compiled_step.state) < 0.9
    assert share(trajectory.last) > 0.97


def test_training_lowers_the_color_loss(trajectory):
    first, last = trajectory.metrics[0], trajectory.metrics[-1]
    assert last["loss/l1"] < 0.9 * first["loss/l1"]
    assert last["loss/palette"] < first["loss/palette"]


def test_bfloat16_trains_as_float32_does(trajectory, rgb):
    states, rounded = zip(*compile_step(tiny(precision="bfloat16")).walk(rgb, 20), strict=True)
    for state in (trajectory.last, states[-1]):
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((state.generator, state.discriminator)))
    names = [f"loss/{name}" for name in ("g", "l1", "palette", "d")]
    exact, rounded = (
        np.array([[row[n] for n in names] for row in rows]) for rows in (trajectory.metrics[:20], rounded)
    )
    assert not np.array_equal(exact, rounded)
    # Single steps of an adversarial game wander apart, at this learning rate by a third; where they lead does not.
    assert (np.abs(rounded / exact - 1)[:3].max(0) < [0.03, 0.03, 0.001, 0.003]).all()
    assert (np.abs(rounded / exact - 1).max(0) < [0.5, 0.5, 0.005, 0.03]).all()
    np.testing.assert_allclose(rounded[10:].mean(0), exact[10:].mean(0), rtol=0.05)


def test_prediction_looks_at_the_luminance_only(compiled_step, rgb):
    config = tiny()
    predict = jax.jit(make_predict(config, build_generator(config)))
    lab = rgb_to_lab(jnp.asarray(rgb, jnp.float32) / 255)
    gray = jnp.round(lab_to_rgb(lab.at[..., 1:].set(0)) * 255).astype(jnp.uint8)
    variables = ema_variables(compiled_step.state)
    h, ab = predict(variables, rgb)
    assert h.shape == (BATCH, 256)
    assert ab.shape == (BATCH, SIZE, SIZE, 2)
    np.testing.assert_allclose(h.sum(-1), 1, atol=1e-4)
    # The gray picture's luminance is the same but for its rounding to bytes.
    h_of_gray, ab_of_gray = predict(variables, gray)
    np.testing.assert_allclose(h_of_gray, h, atol=1e-3)
    assert float(jnp.abs(ab_of_gray - ab).mean()) < 0.02
    _, ab_of_others = predict(variables, gray[::-1])
    assert float(jnp.abs(ab_of_others - ab).mean()) > 0.04


def test_a_batch_that_cannot_be_split_is_refused():
    mesh = sharding.make_mesh()
    with pytest.raises(sharding.UserError, match=r"batch_size=12 .* multiple of 8"):
        sharding.check_batch_size(12, 1, mesh)
    with pytest.raises(sharding.UserError, match="8 devices"):
        sharding.make_mesh(3, 2)
