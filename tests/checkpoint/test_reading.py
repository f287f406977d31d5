"""Reading checkpoints: the EMA weights alone, notes of any kind, and what older versions wrote."""

import json
import logging
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from palgan_jax.checkpoint.reading import first_cause, load_ema
from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.errors import UserError
from tests.support.checkpoint_state import CONFIG, abstract, assert_same, build, save_steps, truncate_arrays
from tests.support.places import GOLDEN


def test_ema_weights_load_without_the_training_state(tmp_path, state):
    save_steps(tmp_path / "checkpoints", [1, 2], state)
    shutil.rmtree(tmp_path / "checkpoints" / "2" / "state")
    for place, step in [(tmp_path, None), (tmp_path / "checkpoints", 2), (tmp_path / "checkpoints" / "2", None)]:
        weights = load_ema(place, step)
        assert weights.step == 2 and weights.config == CONFIG
        assert weights.variables.keys() == {"params", "batch_stats", "spectral"}
        assert_same({**state.ema, "spectral": state.generator["spectral"]}, weights.variables)
        assert {type(x) for x in jax.tree.leaves(weights.variables)} == {np.ndarray}
    assert load_ema(str(tmp_path), 1).step == 1


def test_a_model_without_statistics_has_empty_ones(tmp_path, state, single_mesh):
    weights_alone = state.replace(generator={"params": state.generator["params"]}, ema={"params": state.ema["params"]})
    save_steps(tmp_path, [1], weights_alone)
    variables = load_ema(tmp_path).variables
    assert variables["batch_stats"] == {} and variables["spectral"] == {}
    target = abstract(single_mesh)
    target = target.replace(generator={"params": target.generator["params"]}, ema={"params": target.ema["params"]})
    with Checkpoints(tmp_path) as checkpoints:
        assert_same(weights_alone, checkpoints.restore(target)[0])


def test_damaged_ema_weights_fall_back_with_a_warning(tmp_path, state, caplog):
    save_steps(tmp_path, [1, 2], state)
    truncate_arrays(tmp_path / "2")
    with caplog.at_level(logging.WARNING):
        assert load_ema(tmp_path).step == 1
    assert f"{tmp_path}/2 is not a readable PalGAN checkpoint" in caplog.text
    for place, step in [(tmp_path, 2), (tmp_path / "2", None)]:
        with pytest.raises(
            UserError,
            match=r"2 is not a readable PalGAN checkpoint \(ema/.* has changed since it was written\): name another",
        ):
            load_ema(place, step)


def foreign_orbax(folder: Path, item: str) -> None:
    from orbax.checkpoint import v1 as ocp

    ocp.save_checkpointables(folder, {item: {"w": np.zeros(3)}})


def test_ema_errors_say_what_was_found(tmp_path, state):
    cases = [(tmp_path / "nowhere", "does not exist")]
    (tmp_path / "empty").mkdir()
    cases += [(tmp_path / "empty", "is empty")]
    (tmp_path / "file.txt").write_text("x")
    cases += [(tmp_path / "file.txt", "is neither a folder")]
    (tmp_path / "other").mkdir()
    for name in "abcd":
        (tmp_path / "other" / name).write_text("x")
    cases += [(tmp_path / "other", r"which holds a, b, c, \.\.\.")]
    foreign_orbax(tmp_path / "foreign", "params")
    cases += [(tmp_path / "foreign", "no part named ema")]
    foreign_orbax(tmp_path / "alike" / "5", "ema")
    cases += [(tmp_path / "alike", "not that of a PalGAN checkpoint")]
    for place, message in cases:
        with pytest.raises(UserError, match=message):
            load_ema(place)
    save_steps(tmp_path / "run" / "checkpoints", [4], state)
    with pytest.raises(UserError, match=r"no checkpoint of step 3 in .*: choose one of 4"):
        load_ema(tmp_path / "run", 3)
    with pytest.raises(UserError, match="has the metric that makes one the best"):
        load_ema(tmp_path / "run", "best")


def test_a_newer_format_is_refused(tmp_path, state):
    save_steps(tmp_path, [1], state)
    note = tmp_path / "1" / "_CHECKPOINT_METADATA"
    content = json.loads(note.read_text())
    content["custom_metadata"]["palgan_format"] = 99
    note.write_text(json.dumps(content))
    with pytest.raises(UserError, match="newer version"):
        load_ema(tmp_path)


@pytest.mark.parametrize("changes", [{"config": []}, {"config": "x"}, {"step": None}, {"metrics": 1, "best": "psnr"}])
def test_a_description_with_something_else_in_it_is_damage(tmp_path, state, changes):
    save_steps(tmp_path, [1], state)
    note = tmp_path / "1" / "_CHECKPOINT_METADATA"
    content = json.loads(note.read_text())
    content["custom_metadata"].update(changes)
    note.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"\(its description lacks {', '.join(changes)}\): name another"):
        load_ema(tmp_path)
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match="no readable checkpoint"):
        checkpoints.read_config()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"a": "high"}}, "its metric a is high and no number"),
        ({"config": {"a": {"b": {"c": 1}}}}, "the field b of its config is no single value"),
        ({"step": -1}, "its step is -1"),
        ({"best": {"metric": ["a"], "mode": "max"}}, "its description makes no sense"),
        ({"best": {}}, "its description makes no sense"),
        ({"best": {"mode": "max"}}, "its description makes no sense"),
    ],
)
def test_a_description_that_makes_no_sense_is_damage(tmp_path, state, changes, message):
    save_steps(tmp_path, [1], state)
    note = tmp_path / "1" / "_CHECKPOINT_METADATA"
    content = json.loads(note.read_text())
    content["custom_metadata"].update(changes)
    note.write_text(json.dumps(content))
    for step in (None, "best"):
        with pytest.raises(UserError, match=message if step is None else "has the metric") as error:
            load_ema(tmp_path, step)
        assert str(error.value).endswith(".")


def test_a_description_that_orbax_cannot_read_is_one_damaged_checkpoint(tmp_path, state, caplog):
    save_steps(tmp_path, [1, 2], state)
    (tmp_path / "2" / "_CHECKPOINT_METADATA").write_text("-0.5")
    assert load_ema(tmp_path).step == 1
    with pytest.raises(UserError, match="checkpoints cannot be kept"):
        Checkpoints(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"params": {"w": np.array([np.nan], "f4")}}, "params/w holds numbers that are not finite"),
        ({"params": {"w": np.array([1], "i4")}}, "params/w holds int32 instead of floats"),
        ({"params": {"w": np.ones(1, "f4")}, "batch_stats": {"n": {"var": -np.ones(1, "f4")}}}, "negative variances"),
        ({"params": {"w": np.zeros((4000, 4000), "f4")}}, "its arrays are of 64.00 MB, which its files are too small"),
    ],
)
def test_arrays_that_no_network_can_use_are_refused(tmp_path, state, values, message):
    values = jax.tree.map(jax.device_put, values)
    ema = {"params": values["params"], "batch_stats": values.get("batch_stats", {})}
    save_steps(tmp_path, [1], state.replace(ema=ema, generator={"params": {}, "spectral": {}}))
    with pytest.raises(UserError, match=message):
        load_ema(tmp_path)


# ----------------------------------------------------------------------------------------------------- older versions


def test_a_checkpoint_of_an_earlier_version_still_reads(tmp_path, single_mesh):
    """`tests/support/golden_checkpoint.py` wrote it, with Orbax 0.12.8; `build` is a fixed function of its seed."""
    folder = shutil.copytree(GOLDEN / "checkpoint", tmp_path / "checkpoints")
    with Checkpoints(folder, best="val/psnr") as checkpoints:
        assert checkpoints.best_step == 7 and checkpoints.read_config() == CONFIG
        restored, position, metrics = checkpoints.restore(abstract(single_mesh))
    assert_same(build(), restored)
    assert (position, metrics) == (70, {"val/psnr": 24.5})
    weights = load_ema(folder, "best")
    assert weights.step == 7 and weights.config == CONFIG
    assert_same({**build().ema, "spectral": build().generator["spectral"]}, weights.variables)


def test_a_full_disk_is_named_without_a_librarys_own_words():
    error = ValueError(
        'RESOURCE_EXHAUSTED: Error writing local file "4.orbax-tmp": No space left on device [at: file.cc]'
    )
    assert first_cause(error) == "No space left on device"
    assert first_cause(ValueError("another")) == "another"
