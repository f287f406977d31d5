"""Attention as one kernel of a TPU: the scores of all pairs of tokens never reach its memory."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import Mesh

from palgan_jax.nn.ops.tpu.kernel import has_room, kernel, on_each_chip, tiled

QUERIES = 128
"""Tokens whose scores are worked on at a time."""


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def attend(q: jax.Array, k: jax.Array, v: jax.Array, mesh: Mesh) -> jax.Array:
    """Computes softmax(q k^T / sqrt(C)) v on a mesh of TPUs, for q, k (B, N, C) and each of the S slabs of v.

    v is (B, S, N, D). The softmax is float32. Returns (B, S, N, D). Its derivative computes the scores anew.
    """
    return _save(q, k, v, mesh)[0]


def fits(q: jax.Array, v: jax.Array, mesh: Mesh) -> bool:
    """Returns whether each chip has its own pictures, and room for one of them."""
    *_, slabs, tokens, width = v.shape
    item, rows = v.dtype.itemsize, math.gcd(tokens, QUERIES)
    values, keys = slabs * tokens * tiled(width, 128), tokens * tiled(q.shape[-1], 128)
    size = 4 * item * values + 4 * values  # values and their gradients, while the next come and go, and sums
    size += 2 * item * values * rows // tokens + 8 * item * keys + 4 * keys  # of some results; keys and queries
    return has_room(mesh, len(q), size + 6 * 4 * rows * tokens)  # scores


def _save(q: jax.Array, k: jax.Array, v: jax.Array, mesh: Mesh) -> tuple[jax.Array, Any]:
    return on_each_chip(mesh, partial(_run, mesh), q, k, v, shared=()), (q, k, v)


def _pull_back(mesh: Mesh, residuals: Any, g: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return on_each_chip(mesh, partial(_run_back, mesh), *residuals, g, shared=())


attend.defvjp(_save, _pull_back)


def _places(q: jax.Array, v: jax.Array) -> tuple[tuple[int, int], dict[str, pl.BlockSpec]]:
    """Returns the grid, and the part of each kind of array that one of its points works on."""
    batch, tokens, channels = q.shape
    _, slabs, _, width = v.shape
    rows = math.gcd(tokens, QUERIES)
    return (batch, tokens // rows), {
        "some": pl.BlockSpec((1, rows, channels), lambda b, i: (b, i, 0)),
        "all": pl.BlockSpec((1, tokens, channels), lambda b, i: (b, 0, 0)),
        "some values": pl.BlockSpec((1, slabs, rows, width), lambda b, i: (b, 0, i, 0)),
        "all values": pl.BlockSpec((1, slabs, tokens, width), lambda b, i: (b, 0, 0, 0)),
    }


def _cost(of_scores: int, of_values: int, q: jax.Array, v: jax.Array, *arrays: Any) -> pl.CostEstimate:
    """Estimates the cost of so many products with queries or keys, and with values, and of moving each array once."""
    batch, tokens, channels = q.shape
    scores = batch * tokens**2
    return pl.CostEstimate(
        flops=2 * scores * (of_scores * channels + of_values * v.shape[1] * v.shape[3]), transcendentals=scores,
        bytes_accessed=sum(a.size * a.dtype.itemsize for a in arrays),
    )  # fmt: skip


def _run(mesh: Mesh, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    grid, places = _places(q, v)
    run = kernel(
        _attend, mesh, grid=grid, in_specs=[places[name] for name in ("some", "all", "all values")],
        out_specs=places["some values"], out_shape=jax.ShapeDtypeStruct(v.shape, v.dtype),
        cost_estimate=_cost(1, 1, q, v, q, k, v, v),
    )  # fmt: skip
    return run(q, k, v)


def _run_back(mesh: Mesh, q: jax.Array, k: jax.Array, v: jax.Array, g: jax.Array) -> tuple[jax.Array, ...]:
    grid, places = _places(q, v)
    run = kernel(
        _pull, mesh, grid=grid, in_specs=[places[name] for name in ("some", "all", "all values", "some values")],
        out_specs=tuple(places[name] for name in ("some", "all", "all values")),
        out_shape=tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (q, k, v)),
        scratch_shapes=[pltpu.VMEM(x.shape[1:], jnp.float32) for x in (k, v)],
        cost_estimate=_cost(3, 2, q, v, q, k, v, g, q, k, v),
    )  # fmt: skip
    return run(q, k, v, g)


def _product(x: jax.Array, y: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """Multiplies matrices, summed over an axis of each, in float32."""
    sums = (((axes[0],), (axes[1],)), ((), ()))
    # Kernels do not know of all precisions that a user may have chosen for products.
    precision = jax.lax.Precision.DEFAULT
    return jax.lax.dot_general(x, y, sums, precision=precision, preferred_element_type=jnp.float32)


def _weights(q: jax.Array, k: jax.Array) -> jax.Array:
    scores = _product(q, k, (1, 1)) / np.sqrt(q.shape[-1]).astype(np.float32)  # (some N, N)
    weights = jnp.exp(scores - jnp.max(scores, -1, keepdims=True))
    return weights / jnp.sum(weights, -1, keepdims=True)


def _attend(q: Any, k: Any, v: Any, y: Any) -> None:
    weights = _weights(q[0], k[0]).astype(v.dtype)
    for slab in range(v.shape[1]):
        y[0, slab] = _product(weights, v[0, slab], (1, 0)).astype(y.dtype)


def _pull(q: Any, k: Any, v: Any, g: Any, dq: Any, dk: Any, dv: Any, dk_sum: Any, dv_sum: Any) -> None:
    @pl.when(pl.program_id(1) == 0)
    def _() -> None:
        dk_sum[...] = jnp.zeros_like(dk_sum)
        dv_sum[...] = jnp.zeros_like(dv_sum)

    weights = _weights(q[0], k[0])
    rounded = weights.astype(v.dtype)
    dweights = jnp.zeros_like(weights)
    for slab in range(v.shape[1]):
        dweights += _product(g[0, slab], v[0, slab], (1, 1))
        dv_sum[slab] += _product(rounded, g[0, slab], (0, 0))
    dscores = weights * (dweights - jnp.sum(weights * dweights, -1, keepdims=True))
    dscores = (dscores / np.sqrt(q.shape[-1]).astype(np.float32)).astype(q.dtype)
    dq[0] = _product(dscores, k[0], (1, 0)).astype(dq.dtype)
    dk_sum[...] += _product(dscores, q[0], (0, 0))

    @pl.when(pl.program_id(1) == pl.num_programs(1) - 1)
    def _() -> None:
        dk[0] = dk_sum[...].astype(dk.dtype)
        dv[0] = dv_sum[...].astype(dv.dtype)
