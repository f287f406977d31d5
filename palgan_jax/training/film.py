"""The luminance that old film makes of a picture: blind to red, a little blurred, and with grain.

Until panchromatic film came, gray was a weighted sum of blue and green light: of blue alone before the 1870s, and of
both alike from then on (Luo et al., "Time-Travel Rephotography", ACM TOG 40(6), 2021). What is red was darker, and the
sky lighter, than the luminance of Lab has them.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp

from palgan_jax.color import denormalize_lab, gamut_share, light_to_lightness, linear_to_srgb, srgb_to_linear
from palgan_jax.palette.histogram import histogram
from palgan_jax.palette.spec import PaletteSpec

RED, BLUE = (0.0, 0.05), (0.4, 1.0)
"""The least and the largest weight of linear red, and share of blue in the rest."""
BLUR = (0.2, 1.2)
"""The same of the blur's deviation in pixels."""
GRAIN = (0.01, 0.05)
"""The same of the grain's deviation, of sRGB's range."""
_SIZE = 0.7
"""The deviation in pixels of the blur that makes grain of noise."""
_TAPS = 3
"""Pixels on each side that a blur reaches."""
_Number = TypeVar("_Number", float, jax.Array)


def weights_of_rgb(red: _Number, blue: _Number) -> tuple[_Number, _Number, _Number]:
    """Returns the weights of linear R, G and B in a film's gray, by that of red and the share of blue in the rest."""
    return red, (1 - red) * (1 - blue), (1 - red) * blue


def on_film(
    rgb: jax.Array, c: jax.Array, kind: jax.Array, noise: jax.Array, ab_range: float
) -> tuple[jax.Array, jax.Array]:
    """Returns the luminance that films have of pictures, and the colors that are possible there.

    Colors that are out of gamut at that luminance go towards gray until they are inside: those that are to be painted.

    Args:
      rgb: sRGB (B, H, W, 3), uint8.
      c: its normalized ab (B, H, W, 2).
      kind: (B, 4) in [0, 1], which film it is.
      noise: (B, H, W), of the standard normal distribution.

    Returns normalized l (B, H, W, 1), with grain, and c (B, H, W, 2).
    """
    red, blue, blur, grain = (
        low + (high - low) * x for (low, high), x in zip((RED, BLUE, BLUR, GRAIN), kind.T, strict=True)
    )  # (B,) each
    weights = jnp.stack(weights_of_rgb(red, blue), axis=-1)  # (B, 3)
    light = jnp.sum(srgb_to_linear(rgb.astype(jnp.float32) / 255) * weights[:, None, None], axis=-1)  # (B, H, W)
    light = _blurred(light, _taps(blur))
    clumps = _taps(jnp.full_like(grain, _SIZE))
    noise = _blurred(noise, clumps) / jnp.sum(clumps**2, axis=-1)[:, None, None]
    grainy = jnp.clip(linear_to_srgb(light) + grain[:, None, None] * noise, 0, 1)
    l, grainy_l = ((light_to_lightness(y)[..., None] - 50) / 100 for y in (light, srgb_to_linear(grainy)))
    return grainy_l, c * gamut_share(denormalize_lab(l, c, ab_range), halvings=6)[..., None]


def partly_on_film(
    batch: dict[str, jax.Array], kind: jax.Array, keys: jax.Array, share: float, spec: PaletteSpec, ab_range: float
) -> dict[str, jax.Array]:
    """Replaces the luminance of a share of a batch's pictures by that of film, and their colors by what is possible.

    That is what the networks are asked for, since results have the luminance of the picture that is colorized.

    Args:
      batch: that of `data.device.lab_batch`.
      kind: (B, 5) in [0, 1]: pictures whose first is below `share` are chosen, the others are those of `on_film`.
      keys: (B,), random keys for the grain.
      share, spec, ab_range: the config's `data.film_share`, palette and range of colors.
    """
    noise = jax.vmap(lambda key: jax.random.normal(key, batch["l"].shape[1:3]))(keys)
    l, c = on_film(batch["rgb"], batch["c"], kind[:, 1:], noise, ab_range)
    film = {"l": l, "c": c, "h": histogram(c, spec)}

    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where((kind[:, 0] < share).reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return batch | {name: choose(new, batch[name]) for name, new in film.items()}


def _taps(deviation: jax.Array) -> jax.Array:
    """Returns the weights (B, 2 _TAPS + 1) of Gaussians of deviations (B,), in pixels."""
    x = jnp.arange(-_TAPS, _TAPS + 1)
    weights = jnp.exp(-(x**2) / (2 * deviation[:, None] ** 2))
    return weights / weights.sum(axis=-1, keepdims=True)


def _blurred(x: jax.Array, taps: jax.Array) -> jax.Array:
    """Blurs pictures x (B, H, W), each by its weights (B, 2 _TAPS + 1) across and down; edges are continued."""
    taps = taps[:, :, None, None]
    height, width = x.shape[1:]
    x = jnp.pad(x, [(0, 0), (_TAPS, _TAPS), (_TAPS, _TAPS)], mode="edge")
    x = sum((taps[:, i] * x[:, i : i + height] for i in range(2 * _TAPS + 1)), jnp.float32(0))
    return sum((taps[:, i] * x[:, :, i : i + width] for i in range(2 * _TAPS + 1)), jnp.float32(0))
