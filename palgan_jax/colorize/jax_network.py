"""A trained network as compiled programs of JAX."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.color import denormalize_lab, normalize_lab
from palgan_jax.config import palette_spec
from palgan_jax.errors import UserError
from palgan_jax.nn import PalGAN
from palgan_jax.nn.build import build_generator
from palgan_jax.nn.fold import fold_spectral_norm
from palgan_jax.palette.histogram import histogram
from palgan_jax.palette.regions import Regions
from palgan_jax.palette.spec import PaletteSpec


def paint_batch(
    network: PalGAN, ab_range: float, variables: Any, lightness: jax.Array, h: jax.Array | Regions
) -> jax.Array:
    """Paints L (B, R, R) in [0, 100] with palettes (B, K) or those of regions: ab (B, R, R, 2) in Lab units.

    R is any multiple of 64, since no palette is predicted.
    """
    l, _ = normalize_lab(lightness[..., None], ab_range)
    c: Any = network.apply(variables, l, h, method="paint")
    return denormalize_lab(l, c.astype(jnp.float32), ab_range)[..., 1:]


def predict_batch(
    network: PalGAN,
    spec: PaletteSpec,
    ab_range: float,
    variables: Any,
    lightness: jax.Array,
    palette: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Predicts colors for L (B, R, R) in [0, 100] and palettes (B, K), or None for the predicted ones.

    Returns the predicted palettes (B, K), whether or not they were used, and ab (B, R, R, 2) in Lab units.
    """
    l, _ = normalize_lab(lightness[..., None], ab_range)
    output: Any = network.apply(variables, l, palette, train=False)
    predicted, c = output  # (B, K), (B, R, R, 2)
    c = c.astype(jnp.float32)
    if network.model != "palgan":  # they predict a code: the palette of the painted picture stands for it
        predicted = histogram(c, spec)
    return predicted, denormalize_lab(l, c, ab_range)[..., 1:]


def predict_palettes(network: PalGAN, ab_range: float, variables: Any, lightness: jax.Array) -> jax.Array:
    """Predicts palettes (B, K) for L (B, R, R) in [0, 100], and paints nothing."""
    l, _ = normalize_lab(lightness[..., None], ab_range)
    predicted: Any = network.apply(variables, l, method=lambda net, l: net.palette_generator(l, False)[0])
    return predicted


# At the top level, so that each is compiled once for all colorizers with networks of one kind and size.
_paint = jax.jit(paint_batch, static_argnums=(0, 1))
_predict = jax.jit(predict_batch, static_argnums=(0, 1, 2))
_predict_palettes = jax.jit(predict_palettes, static_argnums=(0, 1))


class JaxNetwork:
    """See `engines.Network`.

    Attributes:
      network, variables: the Flax module and its variables, for programs of one's own.
    """

    takes_turns = True

    def __init__(self, weights: Weights, config: Any) -> None:
        """Raises UserError where the variables are not those of the config's network."""
        # A network without batch norm, say, has no such collection, and parts that only train are not asked for.
        variables = {name: tree for name, tree in weights.variables.items() if tree}
        self._spec, self._ab_range = palette_spec(config), config.ab_range
        side = int(config.resolution)
        try:
            self.network, folded = fold_spectral_norm(build_generator(config), variables)
            self.variables: Any = jax.device_put(folded)
            lightness = jax.ShapeDtypeStruct((1, side, side), jnp.float32)
            _predict.eval_shape(self.network, self._spec, self._ab_range, self.variables, lightness, None)
        except (FlaxError, AttributeError, LookupError, TypeError, ValueError):
            # The shapes of all variables take as long to make as the rest of a start: only where something is wrong.
            if error := _misfit(config, variables, weights.source):
                raise error from None
            raise

    def predict(self, lightness: np.ndarray, palette: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Does what `engines.Network` says."""
        predicted, ab = _predict(self.network, self._spec, self._ab_range, self.variables, lightness, palette)
        return np.asarray(predicted if palette is None else palette), np.asarray(ab)

    def predict_palettes(self, lightness: np.ndarray) -> np.ndarray:
        """Does what `engines.Network` says."""
        return np.asarray(_predict_palettes(self.network, self._ab_range, self.variables, lightness))

    def paint(self, lightness: np.ndarray, h: np.ndarray | Regions) -> np.ndarray:
        """Does what `engines.Network` says."""
        return np.asarray(_paint(self.network, self._ab_range, self.variables, lightness, h))


def _misfit(config: Any, variables: Mapping[str, Any], source: str) -> UserError | None:
    """Returns the error that names the first array that the network does not have so; None where all fit."""
    from palgan_jax.checkpoint.compatibility import shapes

    l = jax.ShapeDtypeStruct((1, int(config.resolution), int(config.resolution), 1), jnp.float32)
    expected = shapes(jax.eval_shape(partial(build_generator(config).init, jax.random.key(0)), l))
    actual = shapes(variables)
    for name, shape in expected.items():
        if actual.get(name) != shape:
            problem = f"of shape {actual[name]} instead of {shape}" if name in actual else "missing"
            return UserError(
                f"the weights ({source}) do not fit the network that their own config describes, "
                f"since {name} is {problem}: name another checkpoint."
            )
    return None
