"""The CIEDE2000 color difference (CIE 142-2001), in the form of Sharma, Wu and Dalal (2005)."""

import math

import jax
import jax.numpy as jnp

from palgan_jax.color import bytes_to_lab


def ciede2000(lab: jax.Array, other: jax.Array) -> jax.Array:
    """Computes the difference (...) of two Lab colors (..., 3), all parametric factors 1.

    0 for equal colors, about 1 where the eye begins to see it, at most about 120 in sRGB. Symmetric. It is not
    continuous where two hues lie opposite each other (the formula, not the arithmetic).
    """
    l1, a1, b1 = (lab[..., i] for i in range(3))
    l2, a2, b2 = (other[..., i] for i in range(3))
    # a is stretched near gray.
    stretch = 1.5 - 0.5 * _seventh((_length(a1, b1) + _length(a2, b2)) / 2)
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = _length(a1, b1), _length(a2, b2)
    chromatic = c1 * c2 > 0
    h1, h2 = _hue(a1, b1), _hue(a2, b2)
    turn = h2 - h1
    # Where the shorter way round leads through 0. Hues that lie exactly opposite each other do not count, whatever
    # rounding makes of them: Sharma's tenth and fourteenth pairs.
    far = chromatic & (jnp.abs(turn) > jnp.pi + 2e-6)
    turn = jnp.where(far, turn - jnp.sign(turn) * 2 * jnp.pi, turn)
    turn = jnp.where(chromatic, turn, 0.0)

    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    hue = jnp.where(chromatic, h1 + turn / 2, h1 + h2)  # without chroma a hue is 0
    d_l, d_c, d_h = l2 - l1, c2 - c1, 2 * jnp.sqrt(c1 * c2) * jnp.sin(turn / 2)

    squared = (lightness - 50) ** 2
    s_l = 1 + 0.015 * squared / jnp.sqrt(20 + squared)
    s_c = 1 + 0.045 * chroma
    t = 1 - _cosines(hue)
    s_h = 1 + 0.015 * chroma * t
    degrees = jnp.rad2deg(jnp.mod(hue, 2 * jnp.pi))
    rotation = -2 * _seventh(chroma) * jnp.sin(2 * jnp.deg2rad(30 * jnp.exp(-(((degrees - 275) / 25) ** 2))))
    total = (d_l / s_l) ** 2 + (d_c / s_c) ** 2 + (d_h / s_h) ** 2 + rotation * (d_c / s_c) * (d_h / s_h)
    return jnp.sqrt(jnp.maximum(total, 0))


def _cosines(hue: jax.Array) -> jax.Array:
    """Computes 0.17 cos(h - 30) - 0.24 cos(2h) - 0.32 cos(3h + 6) + 0.2 cos(4h - 63), angles in degrees.

    Multiples of the angle are powers of (cos h, sin h): two slow functions a pixel in place of four.
    """
    x, y = jnp.cos(hue), jnp.sin(hue)
    total, c, s = jnp.zeros_like(x), x, y
    for weight, phase in ((0.17, -30), (-0.24, 0), (-0.32, 6), (0.20, -63)):
        angle = math.radians(phase)
        total += weight * (c * math.cos(angle) - s * math.sin(angle))
        c, s = c * x - s * y, c * y + s * x
    return total


def _length(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.sqrt(a * a + b * b)


def _seventh(chroma: jax.Array) -> jax.Array:
    """Computes sqrt(c^7 / (c^7 + 25^7)), which goes from 0 at gray to 1."""
    ratio = (chroma / 25) ** 7
    return jnp.sqrt(ratio / (ratio + 1))


def _hue(a: jax.Array, b: jax.Array) -> jax.Array:
    """Computes the angle in [0, 2 pi); 0 at gray."""
    angle = jnp.arctan2(b, a)
    return jnp.where(angle < 0, angle + 2 * jnp.pi, angle)


def color_difference(predicted: jax.Array, truth: jax.Array) -> jax.Array:
    """Computes the mean CIEDE2000 difference (B,) over the pixels of sRGB pictures (B, H, W, 3) in [0, 255]."""
    return jnp.mean(ciede2000(bytes_to_lab(predicted), bytes_to_lab(truth)), axis=(1, 2))
