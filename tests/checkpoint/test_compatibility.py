"""Whether a checkpoint fits: by its config and by its arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from palgan_jax.checkpoint.compatibility import check_fits, check_shapes
from palgan_jax.config import FREE, default_config
from palgan_jax.errors import UserError


def config(**changes) -> dict:
    fields = default_config()
    fields.update_from_flattened_dict({name.replace("__", "."): value for name, value in changes.items()})
    return fields.to_dict()


def test_a_config_that_fits_may_differ_in_free_fields():
    check_fits(config(), config())
    check_fits(config(), config(total="60 epochs", mesh__data=4, data__workers=2, best="", eval_every="1%"), free=FREE)
    check_fits({"betas": [0, 0.9]}, {"betas": (0, 0.9)})


def test_a_config_that_does_not_fit_is_refused_with_all_fields():
    with pytest.raises(UserError) as error:
        check_fits(config(), config(seed=2, net__width=0.5, total="1 epoch", model="vae"), free=FREE, where="runs/a")
    assert str(error.value) == (
        'the checkpoint in runs/a was made with another config, model ("palgan" there, "vae" here), '
        "net.width (1.0 there, 0.5 here), seed (0 there, 2 here): "
        "give the same values, or start another run from its model, with another --workdir and --from runs/a."
    )


def test_a_free_prefix_is_a_whole_name():
    with pytest.raises(UserError, match=r"net\.norm "):
        check_fits(config(), config(net__norm="batch"), free=("net.no", "ne"))
    check_fits(config(), config(net__norm="batch"), free=("net",))


def test_a_checkpoint_from_before_a_field_had_its_default():
    old = config()
    del old["net"]["tap"]
    check_fits(old, config())
    with pytest.raises(UserError, match=r'net\.tap \("after" there, "before" here\)'):
        check_fits(old, config(net__tap="before"))
    with pytest.raises(UserError, match=r"net\.gone \(1 there, absent here\)"):
        check_fits({**old, "net": {"gone": 1}}, old)


def test_shapes_are_compared_by_name_through_containers_and_typed_keys():
    params = {"a": {"kernel": jnp.zeros((3, 4))}}
    state = {"params": params, "opt": optax.adam(1e-3).init(params), "key": jax.random.key(0)}
    moments = {"a": {"kernel": np.zeros((3, 4))}}
    # As the checkpoint describes it: tuples as lists, named tuples as dicts, keys as their numbers.
    stored = {
        "params": moments,
        "opt": [{"count": np.int32(0), "mu": moments, "nu": moments}, None],
        "key": np.zeros(2, np.uint32),
    }
    check_shapes(stored, state, "runs/a/1")
    other = {**stored, "params": {"a": {"kernel": np.zeros((3, 5))}, "b": np.zeros(1)}}
    with pytest.raises(UserError) as error:
        check_shapes(other, state, "runs/a/1")
    assert str(error.value) == (
        "runs/a/1 does not fit the model in 2 arrays, the first of them params/a/kernel with shape "
        "(3, 5) there and (3, 4) here: give the config that it was made with."
    )
    del stored["key"]
    with pytest.raises(UserError, match=r"in 1 arrays, the first of them key with shape none there and \(2,\) here"):
        check_shapes(stored, state, "runs/a/1")
