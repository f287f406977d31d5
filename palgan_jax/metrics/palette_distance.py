"""Distance of palettes: of two pictures, and of a predicted palette from that of the truth."""

import jax

from palgan_jax.palette.histogram import hellinger, of_picture


def palette_distance(predicted: jax.Array, truth: jax.Array) -> jax.Array:
    """Computes the Hellinger distance (B,) in [0, 1] of the palettes of sRGB pictures (B, H, W, 3) in [0, 255].

    Palettes are counted with the default `PaletteSpec`, so that numbers of all models compare.
    """
    return hellinger(of_picture(predicted), of_picture(truth))


def predicted_palette_distance(predicted_palette: jax.Array, truth_palette: jax.Array) -> jax.Array:
    """Computes the Hellinger distance (B,) in [0, 1] of a model's palettes (B, K) from those of the truth."""
    return hellinger(predicted_palette, truth_palette)
