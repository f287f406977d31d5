"""A trained model as something that colorizes pictures."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError
from PIL import Image

from palgan_jax.checkpoint.find import find_weights
from palgan_jax.checkpoint.weights import Weights
from palgan_jax.color import denormalize_lab, normalize_lab
from palgan_jax.colorize.join import join, luminance, squash
from palgan_jax.config import from_dict, palette_spec
from palgan_jax.errors import UserError
from palgan_jax.nn import PalGAN
from palgan_jax.nn.build import build_generator
from palgan_jax.nn.fold import fold_spectral_norm
from palgan_jax.nn.regions import Regions
from palgan_jax.palette import PaletteSpec, histogram, of_picture


def paint_batch(
    network: PalGAN, ab_range: float, variables: Any, lightness: jax.Array, h: jax.Array | Regions
) -> jax.Array:
    """Paints L (B, R, R) in [0, 100] with palettes (B, K) or those of regions: ab (B, R, R, 2) in Lab units.

    R is any multiple of 64, since no palette is predicted.
    """
    l = normalize_lab(jnp.pad(lightness[..., None], ((0, 0), (0, 0), (0, 0), (0, 2))), ab_range)[0]
    c: Any = network.apply(variables, l, h, method="paint")
    return denormalize_lab(l, c.astype(jnp.float32), ab_range)[..., 1:]


_paint = jax.jit(paint_batch, static_argnums=(0, 1))


def predict_batch(
    network: PalGAN,
    spec: PaletteSpec,
    ab_range: float,
    variables: Any,
    lightness: jax.Array,
    palette: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Predicts colors for L (B, R, R) in [0, 100] and palettes (B, K), or None for the predicted ones.

    Returns the palettes used (B, K) and ab (B, R, R, 2) in Lab units.
    """
    lab = jnp.pad(lightness[..., None], ((0, 0), (0, 0), (0, 0), (0, 2)))
    l, _ = normalize_lab(lab, ab_range)
    output: Any = network.apply(variables, l, palette, train=False)
    predicted, c = output  # (B, K), (B, R, R, 2)
    c = c.astype(jnp.float32)
    if network.model != "palgan":  # they predict a code: the palette of the painted picture stands for it
        predicted = histogram(c, spec)
    used = predicted if palette is None else palette
    return used, denormalize_lab(l, c, ab_range)[..., 1:]


# At the top level, so that it is compiled once for all colorizers with networks of one kind and size.
_predict = jax.jit(predict_batch, static_argnums=(0, 1, 2))
_palette_of = jax.jit(of_picture, static_argnums=(1, 2))


class Colorizer:
    """Colorizes pictures (method: section 9).

    The network sees a picture's luminance squashed to `resolution` x `resolution`; the colors that it predicts are
    stretched back over the picture, whose luminance stays as it was, at full resolution. The picture's own colors
    have no influence on the result.

    Attributes:
      config: the config that the model was trained with.
      step: the training step of the weights.
      source: where they come from, in words.
      resolution: the side of the square that the network sees, pixels.
      spec: how the model's palettes are counted.
      network, variables: the model itself, for `predict_batch`.
    """

    def __init__(self, weights: Weights) -> None:
        """Raises UserError where the variables are not those of the config's network."""
        self.config: Any = from_dict(weights.config)
        self.step = weights.step
        self.source = weights.source
        self.resolution = int(self.config.resolution)
        self.spec = palette_spec(self.config)
        # A network without batch norm, say, has no such collection, and parts that only train are not asked for.
        variables = {name: tree for name, tree in weights.variables.items() if tree}
        try:
            self.network, folded = fold_spectral_norm(build_generator(self.config), variables)
            self.variables: Any = jax.device_put(folded)
            lightness = jax.ShapeDtypeStruct((1, self.resolution, self.resolution), jnp.float32)
            _predict.eval_shape(self.network, self.spec, self.config.ab_range, self.variables, lightness, None)
        except (FlaxError, AttributeError, LookupError, TypeError, ValueError):
            # The shapes of all variables take as long to make as the rest of a start: only where something is wrong.
            if misfit := self._misfit(variables):
                raise misfit from None
            raise

    @classmethod
    def load(cls, checkpoint: str | Path | None = None) -> "Colorizer":
        """Loads the model of a checkpoint folder, of a weights file, or (None) the one that comes with the package."""
        return cls(find_weights(checkpoint))

    @property
    def takes_reference(self) -> bool:
        """Returns True where the model paints with a palette, so that another picture's can be used."""
        return self.config.model == "palgan"

    def _misfit(self, variables: Mapping[str, Any]) -> UserError | None:
        """Returns the error that names the first array that the network does not have so; None where all fit."""
        from palgan_jax.checkpoint.compatibility import shapes

        l = jax.ShapeDtypeStruct((1, self.resolution, self.resolution, 1), jnp.float32)
        network = build_generator(self.config)
        expected = shapes(jax.eval_shape(partial(network.init, jax.random.key(0)), l))
        actual = shapes(variables)
        for name, shape in expected.items():
            if actual.get(name) != shape:
                problem = f"of shape {actual[name]} instead of {shape}" if name in actual else "missing"
                return UserError(
                    f"the weights ({self.source}) do not fit the network that their own config describes, "
                    f"since {name} is {problem}: name another checkpoint."
                )
        return None

    def repaint(self, lightness: np.ndarray, h: np.ndarray | Regions, size: int | None = None) -> np.ndarray:
        """Paints an L (H, W) in [0, 100] with a palette that is known, at any size.

        Args:
          lightness: the picture's luminance.
          h: a palette (K,), such as `predict` returns, or regions of a batch of one.
          size: the side of the square that the network sees, a multiple of 64; None for `resolution`.

        Returns ab (size, size, 2), Lab units. Raises UserError for a model that takes no palette.
        """
        if not self.takes_reference:
            raise UserError(f'a model of the kind "{self.config.model}" takes no palette: leave it out.')
        palettes = h if isinstance(h, Regions) else np.asarray(h, np.float32)[None]
        small = squash(lightness, size or self.resolution)
        return np.asarray(_paint(self.network, self.config.ab_range, self.variables, small[None], palettes))[0]

    def predict(self, lightness: np.ndarray, palette: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Predicts the colors for an L (H, W) in [0, 100].

        Returns the palette (K,) that was used, the predicted one where `palette` is None, and ab (R, R, 2) in Lab
        units, which covers the picture whatever its shape. Raises UserError for a palette and a model that takes none.
        """
        if palette is not None:
            if not self.takes_reference:
                raise UserError(f'a model of the kind "{self.config.model}" takes no palette: leave the reference out.')
            palette = np.asarray(palette, np.float32)
            if palette.shape != (self.spec.size,):
                raise ValueError(f"a palette of shape ({self.spec.size},) was expected, not {palette.shape}")
        small = squash(lightness, self.resolution)
        batch = None if palette is None else palette[None]
        used, ab = _predict(self.network, self.spec, self.config.ab_range, self.variables, small[None], batch)
        if not np.isfinite(ab).all():
            raise UserError(
                f"the weights ({self.source}) paint with numbers that are not finite: name another checkpoint."
            )
        return np.asarray(used)[0], np.asarray(ab)[0]

    def colorize(self, rgb: np.ndarray, palette: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Colorizes a picture.

        Args:
          rgb: sRGB uint8 (H, W, 3); only its luminance is used.
          palette: the palette (K,) to paint with, such as `palette_of` another picture; None for the predicted one.

        Returns the picture, uint8 (H, W, 3), and the palette (K,) that was used.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[-1] != 3:
            raise ValueError(f"a picture of uint8 (H, W, 3) was expected, not {rgb.dtype} {rgb.shape}")
        lightness = luminance(rgb)
        used, ab = self.predict(lightness, palette)
        return join(lightness, ab), used

    def palette_of(self, rgb: np.ndarray) -> np.ndarray:
        """Returns the palette (K,) of a picture, uint8 (H, W, 3), as training counted it. A gray one is allowed."""
        size = (self.resolution, self.resolution)
        small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))
        return np.asarray(_palette_of(small, self.spec, self.config.ab_range))
