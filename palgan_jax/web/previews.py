"""Previews that follow the finger: a picture at the size of a screen, of which another palette costs G alone."""

from collections import OrderedDict
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import simplejpeg

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.color import denormalize_lab, normalize_lab
from palgan_jax.colorize.join import squash
from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.data.picture import Picture
from palgan_jax.nn import PalGAN
from palgan_jax.palette.palette import Palette
from palgan_jax.palette.regions import Regions

_QUALITY = 90  # of a preview's JPEG
_PICTURES = 4  # whose features are kept


class _Features(NamedTuple):
    """What E says of one picture: its L (1, R, R), the predicted palette (1, K) and the maps for G."""

    lightness: jax.Array
    palette: jax.Array
    maps: list[jax.Array]


@partial(jax.jit, static_argnums=(0, 1))
def _features(network: PalGAN, ab_range: float, variables: Any, lightness: jax.Array) -> _Features:
    """Runs E for L (B, R, R) in [0, 100]."""
    l, _ = normalize_lab(lightness[..., None], ab_range)
    said: Any = network.apply(variables, l, method="features")
    return _Features(lightness, *said)


@partial(jax.jit, static_argnums=(0, 1))
def _paint(network: PalGAN, ab_range: float, variables: Any, features: _Features, h: jax.Array | Regions) -> jax.Array:
    """Runs G: returns ab (B, R, R, 2) in Lab units."""
    l, _ = normalize_lab(features.lightness[..., None], ab_range)
    c: Any = network.apply(variables, l, features.maps, h, method=lambda net, *x: net.paint_features(*x))
    return denormalize_lab(l, c.astype(jnp.float32), ab_range)[..., 1:]


class PreviewColorizer(Colorizer):
    """A colorizer that keeps what E says of the pictures that it has painted last. It is for one thread."""

    def __init__(self, weights: Weights) -> None:
        """Raises UserError as Colorizer does."""
        super().__init__(weights)
        self._kept: OrderedDict[bytes, _Features] = OrderedDict()

    def _features_of(self, lightness: np.ndarray) -> _Features:
        small = squash(lightness, self.resolution)
        key = small.tobytes()
        if key not in self._kept:
            self._kept[key] = _features(self.network, self.config.ab_range, self.variables, small[None])
            if len(self._kept) > _PICTURES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def predict(self, lightness: np.ndarray, palette: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Does what Colorizer's does."""
        if not self.takes_reference:
            return super().predict(lightness, palette)
        used = np.asarray(self._features_of(lightness).palette)[0] if palette is None else palette
        return used, self.repaint(lightness, used)

    def predict_palette(self, lightness: np.ndarray) -> Palette:
        """Does what Colorizer's does."""
        if not self.takes_reference:
            return super().predict_palette(lightness)
        return Palette(np.asarray(self._features_of(lightness).palette)[0], self.spec, self.config.ab_range)

    def repaint(self, lightness: np.ndarray, h: np.ndarray | Regions, size: int | None = None) -> np.ndarray:
        """Does what Colorizer's does."""
        if not self.takes_reference or size not in (None, self.resolution):
            return super().repaint(lightness, h, size)
        palettes = h if isinstance(h, Regions) else np.asarray(h, np.float32)[None]
        features = self._features_of(lightness)
        return np.asarray(_paint(self.network, self.config.ab_range, self.variables, features, palettes))[0]

    def preview(self, small: Picture, size: tuple[int, int], painting: Painting) -> bytes:
        """Paints a picture at the size of a screen: the content of a JPEG.

        Args:
          small: the picture, reduced.
          size: the (width, height) of the picture itself, in whose pixels hints are given.
          painting: how.

        Raises UserError as Colorizer.paint does.
        """
        if painting.hints is not None:
            painting.hints.check(*size)
            painting = replace(painting, hints=painting.hints.scaled(size, small.pixels.shape[1::-1]))
        pixels = self.paint(small, painting).pixels
        return simplejpeg.encode_jpeg(pixels, quality=_QUALITY, colorspace="RGB", colorsubsampling="444")
