"""Attention of the patches of a picture."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from palgan_jax.nn.dimensions import PATCH
from palgan_jax.nn.ops.columns import Columns, Picture, pack, packed_columns, stored, unpack
from palgan_jax.nn.ops.tpu import attention as tpu

_BAND = 1024
"""Queries whose scores are in memory at once, where there are more than four times as many."""


def attend_patches(q: jax.Array, k: jax.Array, value: Picture, tpus: Mesh | None = None) -> Picture:
    """Replaces each patch of a picture by the mean of all patches, weighted by softmax(q k^T / sqrt(C)).

    q and k are (B, N, C), a row for each of the N patches of `value` (B, H, W, D); returns value's shape. The softmax
    is float32. On a mesh of TPUs a kernel computes it where it fits.
    """
    if tpus is not None:
        slabs = cut_slabs(value)
        if tpu.fits(q, slabs, tpus):
            return fold_slabs(tpu.attend(q, k, slabs, tpus), value)
    patches = attend(q, k, cut_patches(unpack(value)))  # (B, N, PATCH * PATCH * D)
    return pack(fold_patches(patches, *value.shape[1:3]), packed_columns(value))


def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Computes softmax(q k^T / sqrt(C)) v for q, k (B, N, C) and v (B, N, D); the softmax in float32: (B, N, D).

    Many queries are worked through in bands, since the scores of all of a picture of 1024 pixels take 1 GB.
    """
    batch, count, channels = q.shape
    if count <= 4 * _BAND or count % _BAND:
        return _attend(q, k, v)
    bands = q.reshape(batch, -1, _BAND, channels).swapaxes(0, 1)  # (N / _BAND, B, _BAND, C)
    return jax.lax.map(lambda band: _attend(band, k, v), bands).swapaxes(0, 1).reshape(batch, count, -1)


def _attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Attends with queries q (B, M, C), of which there may be others than keys k (B, N, C): (B, M, D)."""
    scores = jnp.einsum("bnc,bmc->bnm", q, k, preferred_element_type=jnp.float32)  # (B, M, N)
    weights = jax.nn.softmax(scores / np.sqrt(q.shape[-1]).astype(np.float32), axis=-1)
    return jnp.einsum("bnm,bmd->bnd", weights.astype(v.dtype), v)


def cut_patches(x: jax.Array) -> jax.Array:
    """Cuts (B, H, W, C) into patches that do not overlap: (B, N, PATCH * PATCH * C), N in rows of W / PATCH."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // PATCH, PATCH, width // PATCH, PATCH, channels)
    return x.swapaxes(2, 3).reshape(batch, -1, PATCH * PATCH * channels)


def fold_patches(patches: jax.Array, height: int, width: int) -> jax.Array:
    """Inverts `cut_patches`: (B, N, PATCH * PATCH * C) to (B, height, width, C)."""
    batch = patches.shape[0]
    x = patches.reshape(batch, height // PATCH, width // PATCH, PATCH, PATCH, -1)
    return x.swapaxes(2, 3).reshape(batch, height, width, -1)


def cut_slabs(x: Picture) -> jax.Array:
    """Cuts (B, H, W, C), packed by n, as `cut_patches` does, in slabs: (B, PATCH * PATCH / n, N, n C).

    Row i of all slabs together is patch i. To move whole pixels is cheaper than to put patches together.
    """
    across = PATCH // packed_columns(x)
    batch, height, width, channels = stored(x).shape
    array = stored(x).reshape(batch, height // PATCH, PATCH, width // across, across, channels)
    return array.transpose(0, 2, 4, 1, 3, 5).reshape(batch, PATCH * across, -1, channels)


def fold_slabs(slabs: jax.Array, like: Picture) -> Picture:
    """Inverts `cut_slabs`, to a picture that is shaped and packed as another."""
    batch, height, *_ = like.shape
    _, count, _, channels = slabs.shape
    x = slabs.reshape(batch, PATCH, count // PATCH, height // PATCH, -1, channels)
    x = x.transpose(0, 3, 1, 4, 2, 5).reshape(batch, height, -1, channels)
    return Columns(x, like.n) if isinstance(like, Columns) else x
