"""Changes of what the discriminator sees, through which G's gradient flows (Zhao et al., "DiffAugment", 2020)."""

import jax
import jax.numpy as jnp

FARTHEST = 1 / 8
"""How far pictures are moved at most, as a share of their side."""
HOLE = 1 / 2
"""The side of the square that is cut out of them, as a share of theirs."""


def moved_and_cut(x: jax.Array, draws: jax.Array) -> jax.Array:
    """Moves each picture of x (B, H, W, C) over zeros, and cuts a square out of it, by `draws` (B, 4) in [0, 1].

    draws[:, :2] say how far down and to the right it goes, 0.5 for nowhere; draws[:, 2:] where the square's center is,
    which may reach beyond the picture's edge. Both are whole pixels, so that no value is blurred.
    """
    sides = jnp.asarray(x.shape[1:3])
    reach = [round(FARTHEST * side) for side in x.shape[1:3]]
    count = 2 * jnp.asarray(reach) + 1
    first = count - 1 - jnp.clip(draws[:, :2] * count, 0, count - 1).astype(int)  # (B, 2), of the rows and columns kept
    center = sides * draws[:, 2:]

    def change(picture: jax.Array, first: jax.Array, center: jax.Array) -> jax.Array:
        padded = jnp.pad(picture, [*((side, side) for side in reach), (0, 0)])
        shifted = jax.lax.dynamic_slice(padded, (*first, 0), picture.shape)
        places = jnp.moveaxis(jnp.indices(picture.shape[:2]), 0, -1) + 0.5  # (H, W, 2)
        is_cut = (jnp.abs(places - center) < HOLE / 2 * sides).all(axis=-1, keepdims=True)
        return jnp.where(is_cut, 0, shifted)

    return jax.vmap(change)(x, first, center)
