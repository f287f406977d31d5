"""A small state with the fields of the training state, made anew in any process from a seed, and its checkpoints."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from palgan_jax.checkpoint.saving import Checkpoints
from tests.support.places import ROOT

CONFIG = {
    "seed": 1,
    "total": "30 epochs",
    "net": {"width": 0.5, "norm": "palette"},
    "data": {"train": "a", "near": None},
}


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


def sharded(mesh: jax.sharding.Mesh, seed: int = 0) -> State:
    """`build`, spread over a mesh of which this process may hold only a part."""

    def spread(x, sharding):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.jit(jax.random.key, out_shardings=sharding)(seed + 1)
        return jax.make_array_from_callback(x.shape, sharding, np.asarray(x).__getitem__)

    state = build(seed)
    return jax.tree.map(spread, state, shardings(mesh, state))


def abstract(mesh: jax.sharding.Mesh) -> State:
    shapes = jax.eval_shape(lambda: build())
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings(mesh, shapes)
    )


def raw(state: Any) -> Any:
    """Keys as their numbers, so that they can be compared."""
    return jax.tree.map(
        lambda x: jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x, state
    )


def assert_same(a: Any, b: Any) -> None:
    def same(path, x, y):
        assert x.dtype == y.dtype and np.array_equal(x, y), jax.tree_util.keystr(path)

    jax.tree_util.tree_map_with_path(same, raw(a), raw(b))


# ------------------------------------------------------------------------------------------------ checkpoints on disk


def save_steps(folder: Path, steps: Iterable[int], state: State) -> None:
    """Saves the same state at several steps; the data position is ten times the step."""
    with Checkpoints(folder) as checkpoints:
        for step in steps:
            checkpoints.save(step, state, data_position=step * 10, config=CONFIG)


def flip_bit(folder: Path) -> None:
    """Damages a checkpoint in the middle of an array, which an array store does not notice by itself."""
    file = max(folder.glob("state/ocdbt.process_0/d/*"), key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate_arrays(folder: Path) -> None:
    file = max(folder.glob("ema/ocdbt.process_0/d/*"), key=lambda file: file.stat().st_size)
    os.truncate(file, file.stat().st_size // 2)


def remove_arrays(folder: Path) -> None:
    shutil.rmtree(folder / "state")


def run_python(code: str, *arguments: str, devices: int = 1, **options: Any) -> subprocess.Popen:
    """Starts Python on this checkout, with so many CPU devices."""
    environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, text=True, **options)
