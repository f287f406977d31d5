"""The state that training carries from step to step, and its start."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from flax.traverse_util import flatten_dict, unflatten_dict

from palgan_jax.nn import ColorDiscriminator, PalGAN


@struct.dataclass
class TrainState:
    """One pytree, which a step takes and returns.

    Attributes:
      step: number of updates made, int32 scalar.
      generator: variables of E and G: "params", "batch_stats" and "spectral".
      discriminator: variables of D: "params" and "spectral".
      g_opt, d_opt: states of the two optimizers.
      ema: moving averages of the generator's "params" and "batch_stats", which are evaluated and exported.
      key: the root key, which is never split: each use folds in a number of its own and the step.
    """

    step: jax.Array
    generator: dict[str, Any]
    discriminator: dict[str, Any]
    g_opt: optax.OptState
    d_opt: optax.OptState
    ema: dict[str, Any]
    key: jax.Array


def init_state(
    key: jax.Array,
    generator: PalGAN,
    discriminator: ColorDiscriminator,
    g_tx: optax.GradientTransformation,
    d_tx: optax.GradientTransformation,
    resolution: int,
) -> TrainState:
    """Returns the state before the first step. Jit it with `out_shardings`, so that no device holds all of it."""
    l = jnp.zeros((1, resolution, resolution, 1))
    c = jnp.zeros((1, resolution, resolution, 2))
    rgb = jnp.zeros((1, resolution, resolution, 3))
    g = dict(generator.init(jax.random.fold_in(key, 1), l, c, method="everything"))
    d = dict(discriminator.init(jax.random.fold_in(key, 2), c, rgb, jnp.zeros((1, generator.palette_size))))
    g.setdefault("batch_stats", {})
    g.setdefault("spectral", {})
    d.setdefault("spectral", {})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        generator=g,
        discriminator=d,
        g_opt=g_tx.init(g["params"]),
        d_opt=d_tx.init(d["params"]),
        # Copies: a donated state must not hold one buffer twice.
        ema=jax.tree.map(jnp.copy, {"params": g["params"], "batch_stats": g["batch_stats"]}),
        key=key,
    )


def with_variables(state: TrainState, generator: dict[str, Any], discriminator: dict[str, Any]) -> TrainState:
    """Puts arrays in the place of new variables of E + G, of their averages and of D, sharded as these are.

    Both have collections such as "params", and may lack any of the variables.
    """
    averaged = {name: tree for name, tree in generator.items() if name in state.ema}
    return state.replace(  # type: ignore[attr-defined]
        generator=_placed(state.generator, generator),
        discriminator=_placed(state.discriminator, discriminator),
        ema=_placed(state.ema, averaged),
    )


def _placed(variables: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    flat: Any = flatten_dict(variables, keep_empty_nodes=True)
    new: Any = flatten_dict(values)
    for path, value in new.items():
        old = flat[path]
        assert value.shape == old.shape, (path, value.shape, old.shape)
        flat[path] = jax.device_put(np.asarray(value, old.dtype), old.sharding)
    return unflatten_dict(flat)


def ema_variables(state: TrainState) -> dict[str, Any]:
    """Returns the variables to evaluate with: averaged parameters and statistics, and the latest spectral vectors."""
    return {**state.ema, "spectral": state.generator["spectral"]}
