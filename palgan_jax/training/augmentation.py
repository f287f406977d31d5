"""Changes of the pictures of a batch while training: of their tones, and of their colors with their palettes."""

import jax
import jax.numpy as jnp

from palgan_jax.color import denormalize_lab, gamut_share

GAINS = (0.6, 1.3)
"""The smallest and the largest factor of chroma."""


def jittered(l: jax.Array, tone: jax.Array, strength: float) -> jax.Array:
    """Changes the tones of l (B, H, W, 1) as films, prints and scans do, by `tone` (B, 3) in [0, 1].

    At strength 1: a gamma from 0.7 to 1.42, a contrast from 0.75 to 1.15 and a shift by up to 6 of L in [0, 100].
    """
    gamma, contrast, shift = jnp.moveaxis(tone[:, None, None, None], -1, 0)  # (B, 1, 1, 1) each
    light = jnp.clip(l + 0.5, 1e-3, 1) ** jnp.exp(0.35 * strength * (2 * gamma - 1))
    jittered_light = (light - 0.5) * (1 + strength * (0.4 * contrast - 0.25)) + 0.06 * strength * (2 * shift - 1)
    return jnp.clip(jittered_light, -0.5, 0.5)


def recolored(l: jax.Array, c: jax.Array, change: jax.Array, ab_range: float) -> jax.Array:
    """Turns, mirrors and scales the colors of pictures in the ab plane, each by `change` (B, 3) in [0, 1].

    l is (B, H, W, 1), c (B, H, W, 2), normalized. change[:, 0] is the hue's turn (1 is a full circle), the half of
    pictures with the larger change[:, 1] is mirrored, and change[:, 2] is the chroma's factor, between GAINS. What
    leaves the gamut goes towards gray until it is inside.
    """
    turn, mirror, gain = jnp.moveaxis(change[:, None, None], -1, 0)  # (B, 1, 1) each
    a, b = c[..., 0], jnp.where(mirror < 0.5, c[..., 1], -c[..., 1])
    low, high = jnp.log(jnp.asarray(GAINS))
    factor, angle = jnp.exp(low + gain * (high - low)), 2 * jnp.pi * turn
    cosine, sine = factor * jnp.cos(angle), factor * jnp.sin(angle)
    rotated = jnp.stack([cosine * a - sine * b, sine * a + cosine * b], axis=-1)  # (B, H, W, 2)
    return rotated * gamut_share(denormalize_lab(l, rotated, ab_range), halvings=6)[..., None]
