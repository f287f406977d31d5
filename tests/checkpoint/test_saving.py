"""Checkpoints of a run: the same bits back on any mesh, the latest and the best kept."""

import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palgan_jax.checkpoint.compatibility import is_key
from palgan_jax.checkpoint.reading import load_ema, preserved_steps
from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.config import Phases, default_config, load_config
from palgan_jax.errors import UserError
from palgan_jax.nn.build import build_discriminator, build_generator
from palgan_jax.training.optimizers import make_optimizers
from palgan_jax.training.state import ema_variables, init_state
from tests.support.checkpoint_state import CONFIG, abstract, assert_same, build, mesh, raw, save_steps, sharded
from tests.support.places import ROOT


def test_restored_state_is_bit_identical_with_its_note(tmp_path, state, single_mesh):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step is None
        assert checkpoints.save(7, state, data_position=123, config=CONFIG, metrics={"psnr": 20.5, "loss": np.nan})
        assert checkpoints.latest_step == 7
    with Checkpoints(tmp_path) as checkpoints:
        restored, position, metrics = checkpoints.restore(abstract(single_mesh))
        assert_same(state, restored)
        assert jax.tree.structure(state) == jax.tree.structure(restored)
        assert restored.key.dtype == state.key.dtype and restored.step.dtype == jnp.int32
        assert (position, metrics) == (123, {"psnr": 20.5, "loss": None})
        assert checkpoints.read_config() == CONFIG


def test_the_training_state_of_a_real_model_comes_back(tmp_path, single_mesh):
    config = default_config()
    config.net.width = config.discriminator.width = 1 / 16
    optimizers = make_optimizers(config, Phases(20, 10))
    shapes = jax.eval_shape(
        lambda key: init_state(key, build_generator(config), build_discriminator(config), *optimizers, 64),
        jax.random.key(0),
    )
    draw = np.random.default_rng(0)

    def fill_in(x):
        return jax.random.key(3) if is_key(x) else jnp.asarray(100 * draw.random(x.shape), x.dtype)

    state = jax.tree.map(fill_in, shapes)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, state, data_position=1, config=config.to_dict())
        assert_same(state, checkpoints.restore(state)[0])
    weights = load_ema(tmp_path)
    assert_same(ema_variables(state), weights.variables)
    assert weights.config == config.to_dict()


def test_state_may_be_donated_as_soon_as_save_returns(tmp_path, single_mesh):
    state = sharded(single_mesh)
    before = jax.tree.map(np.array, raw(state))
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x * 0 - 1, s.replace(key=s.step)), donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, data_position=0, config=CONFIG)
        jax.block_until_ready(overwrite(state.replace(key=state.step + 0)))
        checkpoints.wait()
        assert_same(before, checkpoints.restore(abstract(single_mesh))[0])


def test_no_array_is_stored_twice(tmp_path, state):
    """Weights of random bits do not compress: the files together are hardly larger than the arrays."""
    save_steps(tmp_path, [1], state)
    arrays = sum(x.nbytes for x in jax.tree.leaves(raw(state)))
    stored = sum(f.stat().st_size for f in tmp_path.rglob("*") if f.parent.name == "d")
    assert 0.8 * arrays < stored < 1.3 * arrays


@pytest.mark.parametrize(("saved_on", "restored_on"), [((1, 1), (2, 4)), ((2, 4), (1, 1)), ((1, 8), (4, 2))])
def test_restores_onto_another_mesh(tmp_path, state, saved_on, restored_on):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, sharded(mesh(*saved_on)), data_position=0, config=CONFIG)
    target = abstract(mesh(*restored_on))
    with Checkpoints(tmp_path) as checkpoints, jax.transfer_guard("disallow"):
        restored = checkpoints.restore(target)[0]
    assert_same(state, restored)
    for leaf, expected in zip(jax.tree.leaves(restored), jax.tree.leaves(target), strict=True):
        assert leaf.sharding.is_equivalent_to(expected.sharding, leaf.ndim)


def test_saves_under_a_transfer_guard(tmp_path, single_mesh):
    state = sharded(single_mesh)
    with Checkpoints(tmp_path) as checkpoints, jax.transfer_guard("disallow"):
        checkpoints.save(1, state, data_position=0, config=CONFIG)
        checkpoints.wait()
        assert checkpoints.steps == [1]


def test_saving_a_step_twice_keeps_the_first(tmp_path, state, single_mesh):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.save(1, state, data_position=5, config=CONFIG)
        assert not checkpoints.save(1, state, data_position=6, config=CONFIG)
        assert checkpoints.restore(abstract(single_mesh))[1] == 5
        assert not checkpoints.save(1, state, data_position=7, config=CONFIG)


def test_going_back_to_an_older_step_gives_up_the_newer(tmp_path, state, single_mesh):
    save_steps(tmp_path, [1, 2, 3], state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.restore(abstract(single_mesh), step=1)
        assert checkpoints.steps == [1]
        assert checkpoints.save(2, build(5), data_position=0, config=CONFIG)
        assert_same(build(5), checkpoints.restore(abstract(single_mesh))[0])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["1", "2"]


def test_restore_errors(tmp_path, state, single_mesh):
    with Checkpoints(tmp_path / "new") as checkpoints, pytest.raises(UserError, match="there is no checkpoint in"):
        checkpoints.restore(abstract(single_mesh))
    save_steps(tmp_path / "a", [1, 2], state)
    target = abstract(single_mesh)
    with Checkpoints(tmp_path / "a") as checkpoints:
        with pytest.raises(UserError, match=r"no checkpoint of step 5 in .*: choose one of \[1, 2\]"):
            checkpoints.restore(target, step=5)
        kernel = jax.ShapeDtypeStruct((16, 4), jnp.float32, sharding=target.step.sharding)
        wider = {**target.generator, "params": {**target.generator["params"], "out": kernel}}
        with pytest.raises(
            UserError, match=r"state does not fit the model in 1 arrays.*params/out with shape \(16, 8\)"
        ):
            checkpoints.restore(target.replace(generator=wider))
        assert checkpoints.steps == [1, 2]  # not taken for damage
    with pytest.raises(UserError, match="keep is 0"):
        Checkpoints(tmp_path / "a", keep=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="checkpoints cannot be kept in"):
        Checkpoints(tmp_path / "file")


def test_a_save_that_cannot_be_written_says_so(tmp_path, state):
    checkpoints = Checkpoints(tmp_path / "a")
    checkpoints.save(1, state, data_position=0, config=CONFIG)
    checkpoints.wait()
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "a").write_text("a file where the folder was")
    with pytest.raises(UserError, match="a checkpoint cannot be written to"):
        checkpoints.save(2, state, data_position=0, config=CONFIG)
        checkpoints.wait()


# --------------------------------------------------------------------------------------------------- latest and best


def test_keeps_the_latest_and_the_best(tmp_path, state):
    psnr = {1: 20.0, 2: 25.0, 3: 21.0, 4: np.nan, 5: 24.0, 6: None}
    with Checkpoints(tmp_path, keep=2, best="psnr") as checkpoints:
        for step, value in psnr.items():
            metrics = None if value is None else {"psnr": value}
            checkpoints.save(step, state, data_position=0, config=CONFIG, metrics=metrics)
        checkpoints.wait()
        assert checkpoints.steps == [2, 5, 6] and checkpoints.best_step == 2
    assert {entry.name for entry in tmp_path.iterdir()} == {"2", "5", "6"}
    # A run that goes on knows what was best before it.
    with Checkpoints(tmp_path, keep=2, best="psnr") as checkpoints:
        assert checkpoints.best_step == 2
        checkpoints.save(7, state, data_position=0, config=CONFIG, metrics={"psnr": 26.0})
        assert checkpoints.best_step == 7
        checkpoints.save(8, state, data_position=0, config=CONFIG, metrics={"psnr": 26.0})
        checkpoints.wait()
        assert checkpoints.steps == [7, 8] and checkpoints.best_step == 8
    assert load_ema(tmp_path, "best").step == 8


def test_the_steps_whose_mean_is_bundled_are_there_at_the_end_whichever_is_the_best():
    """The documented command asks for steps of the documented run, which may remove checkpoints."""
    text = (ROOT / "docs" / "model.md").read_text()
    command = re.search(r"palgan export runs/pretrained \S+ --average (\S+)", text)
    assert command is not None
    named, config = {int(step) for step in command[1].split(",")}, load_config("pretrained:paint")
    every, total = (int(field.removesuffix(" steps")) for field in (config.eval_every, config.total))
    steps = range(every, total + 1, every)
    for best in steps:
        there = {}
        for step in steps:
            there[step] = {config.best: 17.0 if step == best else 18.0}
            kept = preserved_steps(there, config.keep, config.best, "min")
            there = {step: there[step] for step in kept}
        assert named <= there.keys()


def test_best_can_be_the_least(tmp_path, state):
    with Checkpoints(tmp_path, keep=1, best="loss", best_mode="min") as checkpoints:
        for step, loss in [(1, 0.5), (2, 0.25), (3, 0.75)]:
            checkpoints.save(step, state, data_position=0, config=CONFIG, metrics={"loss": loss})
        checkpoints.wait()
        assert checkpoints.steps == [2, 3]
    assert load_ema(tmp_path, "best").step == 2
    assert load_ema(tmp_path).step == 3
