"""A small state with the fields of the training state, made anew in any process from a seed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P


@struct.dataclass
class State:
    step: jax.Array
    generator: dict
    discriminator: dict
    g_opt: Any
    d_opt: Any
    ema: dict
    key: jax.Array


OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))


def build(seed: int = 0) -> State:
    """Every leaf differs from every other and from those of another seed."""
    generator = np.random.default_rng(seed)

    def draw(*shape):
        return jnp.asarray(generator.standard_normal(shape, np.float32))

    def part():
        return {"palette_generator": {"conv": {"kernel": draw(3, 3, 8, 16), "bias": draw(16)}}, "out": draw(16, 8)}

    params, d_params = part(), part()
    return State(
        step=jnp.int32(100 + seed),
        generator={"params": params, "batch_stats": {"mean": draw(16)}, "spectral": {"u": draw(1, 16)}},
        discriminator={"params": d_params, "spectral": {"u": draw(1, 16)}},
        g_opt=jax.tree.map(lambda x: x + seed if x.dtype == jnp.int32 else draw(*x.shape), OPTIMIZER.init(params)),
        d_opt=jax.tree.map(lambda x: x + seed if x.dtype == jnp.int32 else draw(*x.shape), OPTIMIZER.init(d_params)),
        ema={"params": part(), "batch_stats": {"mean": draw(16)}},
        key=jax.random.key(seed + 1),
    )


def shardings(mesh: jax.sharding.Mesh, state: Any) -> Any:
    """Each array split over fsdp along its last axis where that divides it, as FSDP would."""
    size = mesh.shape["fsdp"]

    def rule(x):
        split = x.ndim > 0 and x.shape[-1] % size == 0 and x.shape[-1] >= size
        return NamedSharding(mesh, P(*[None] * (x.ndim - 1), "fsdp") if split else P())

    return jax.tree.map(rule, state)


def mesh(data: int, fsdp: int) -> jax.sharding.Mesh:
    return jax.make_mesh(
        (data, fsdp),
        ("data", "fsdp"),
        axis_types=(jax.sharding.AxisType.Auto,) * 2,
        devices=jax.devices()[: data * fsdp],
    )


def sharded(on: jax.sharding.Mesh, seed: int = 0) -> State:
    """`build`, spread over a mesh of which this process may hold only a part."""

    def spread(x, sharding):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.jit(jax.random.key, out_shardings=sharding)(seed + 1)
        return jax.make_array_from_callback(x.shape, sharding, np.asarray(x).__getitem__)

    state = build(seed)
    return jax.tree.map(spread, state, shardings(on, state))


def abstract(on: jax.sharding.Mesh) -> State:
    shapes = jax.eval_shape(lambda: build())
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings(on, shapes))


def raw(state: Any) -> Any:
    """Keys as their numbers, so that they can be compared."""
    return jax.tree.map(
        lambda x: jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x, state
    )
