"""Colourfulness (Hasler and Süsstrunk, 2003), as the original defines it and as the colorization field computes it."""

import jax
import jax.numpy as jnp


def colourfulness(rgb: jax.Array, *, signed: bool = False) -> jax.Array:
    """The colourfulness (B,) of sRGB pictures (B, H, W, 3) in [0, 255].

    The opponent channels are taken absolutely, as the field's tables do; `signed` takes them as the original does.
    """
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    rg, yb = red - green, (red + green) / 2 - blue
    if not signed:
        rg, yb = jnp.abs(rg), jnp.abs(yb)
    pixels = (1, 2)
    spread = jnp.sqrt(jnp.var(rg, axis=pixels) + jnp.var(yb, axis=pixels))
    return spread + 0.3 * jnp.sqrt(jnp.mean(rg, axis=pixels) ** 2 + jnp.mean(yb, axis=pixels) ** 2)
