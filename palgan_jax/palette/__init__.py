"""Palettes: the histogram of a picture's colors, as an array on the device."""

from palgan_jax.palette.histogram import (
    Kernel,
    Normalization,
    PaletteSpec,
    as_distribution,
    bin_centers,
    bin_colors,
    entropy,
    hellinger,
    histogram,
    normalized,
    of_picture,
    picture,
)

__all__ = [
    "Kernel",
    "Normalization",
    "PaletteSpec",
    "as_distribution",
    "bin_centers",
    "bin_colors",
    "entropy",
    "hellinger",
    "histogram",
    "normalized",
    "of_picture",
    "picture",
]
