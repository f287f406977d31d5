"""A trained model as something that colorizes pictures."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from palgan_jax.checkpoint.compatibility import shapes
from palgan_jax.checkpoint.weights_file import find_weights
from palgan_jax.color import denormalize_lab, from_bytes, normalize_lab
from palgan_jax.colorize.join import join, luminance, squash
from palgan_jax.config import from_dict, palette_spec
from palgan_jax.errors import UserError
from palgan_jax.nn import PalGAN
from palgan_jax.nn.build import build_generator
from palgan_jax.palette import PaletteSpec, histogram


def predict_batch(
    network: PalGAN,
    spec: PaletteSpec,
    ab_range: float,
    variables: Any,
    lightness: jax.Array,
    palette: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """L (B, R, R) and palettes (B, K) or None -> the palettes used (B, K) and ab (B, R, R, 2) in Lab units."""
    lab = jnp.pad(lightness[..., None], ((0, 0), (0, 0), (0, 0), (0, 2)))
    l, _ = normalize_lab(lab, ab_range)
    output: Any = network.apply(variables, l, palette, train=False)
    predicted, c = output  # (B, K), (B, R, R, 2)
    c = c.astype(jnp.float32)
    if network.model != "palgan":  # what they predict is a code; the palette of what they paint stands for it
        predicted = histogram(c, spec)
    used = predicted if palette is None else palette
    return used, denormalize_lab(l, c, ab_range)[..., 1:]


# Of the module, so that it is compiled once for all colorizers with networks of one kind and size.
_predict = jax.jit(predict_batch, static_argnums=(0, 1, 2))


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

    def __init__(self, weights: Mapping[str, Any]) -> None:
        """Takes what `checkpoint.weights_file.find_weights` returns: {"variables", "config", "step", "source"}.

        Raises UserError where the variables are not those of the config's network.
        """
        self.config: Any = from_dict(weights["config"])
        self.step = int(weights["step"])
        self.source = str(weights["source"])
        self.resolution = int(self.config.resolution)
        self.spec = palette_spec(self.config)
        self.network = build_generator(self.config)
        self.variables = self._checked(weights["variables"])

    @classmethod
    def load(cls, checkpoint: str | Path | None = None) -> "Colorizer":
        """The model of a checkpoint folder, a weights file, or (None) the one that comes with the package."""
        return cls(find_weights(checkpoint))

    @property
    def takes_reference(self) -> bool:
        """Whether the model paints with a palette, so that another picture's can be given."""
        return self.config.model == "palgan"

    def _checked(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The variables on the device, if names and shapes are those that the network of the config has."""
        l = jax.ShapeDtypeStruct((1, self.resolution, self.resolution, 1), jnp.float32)
        init = partial(self.network.init, jax.random.key(0))
        expected = shapes(jax.eval_shape(init, l))
        # A network without batch norm, say, has no such collection, and parts that only train are not asked for.
        given = shapes({name: tree for name, tree in variables.items() if tree})
        for name, shape in expected.items():
            if given.get(name) != shape:
                problem = f"of shape {given[name]} instead of {shape}" if name in given else "missing"
                raise UserError(
                    f"the weights ({self.source}) do not fit the network that their own config describes, "
                    f"since {name} is {problem}: name another checkpoint."
                )
        return jax.device_put({name: tree for name, tree in variables.items() if tree})

    def predict(self, lightness: np.ndarray, palette: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The colors for an L (H, W) in [0, 100].

        Returns the palette (K,) that was used, the predicted one unless it was given, and ab (R, R, 2) in Lab units,
        which covers the picture whatever its shape. Raises UserError for a palette and a model that takes none.
        """
        if palette is not None:
            if not self.takes_reference:
                raise UserError(f'a model of the kind "{self.config.model}" takes no palette: leave the reference out.')
            palette = np.asarray(palette, np.float32)
            if palette.shape != (self.spec.size,):
                raise ValueError(f"a palette of shape ({self.spec.size},) was expected, not {palette.shape}")
        small = squash(lightness, self.resolution)
        given = None if palette is None else palette[None]
        used, ab = _predict(self.network, self.spec, self.config.ab_range, self.variables, small[None], given)
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
        """The palette (K,) of a picture, uint8 (H, W, 3), as the model's training counted it. A gray one is allowed."""
        size = (self.resolution, self.resolution)
        small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))
        _, c = from_bytes(jnp.asarray(small), self.config.ab_range)
        return np.asarray(histogram(c, self.spec))
