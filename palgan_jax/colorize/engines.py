"""What runs the network: JAX, or ONNX Runtime, which compiles nothing and so paints its first picture at once."""

from importlib.util import find_spec
from typing import Literal, get_args

import jax
import numpy as np

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.errors import UserError
from palgan_jax.export.refusals import misfit

Engine = Literal["jax", "onnx"]
NAMES: dict[Engine, str] = {"jax": "JAX", "onnx": "ONNX Runtime"}


def choose_engine(wanted: str, weights: Weights) -> Engine:
    """Returns the engine for trained weights: the wanted one, or for "auto" the one that is sooner done.

    "auto" takes ONNX Runtime where the extra `onnx` is installed, the model paints with a palette, and JAX has no
    accelerator.
    """
    for engine in get_args(Engine):
        if wanted == engine:
            return engine
    installed = all(find_spec(name) for name in ("onnx", "onnxruntime"))
    paints_with_palette = weights.config.get("model", "palgan") == "palgan"
    return "onnx" if installed and paints_with_palette and jax.default_backend() == "cpu" else "jax"


class OnnxNetwork:
    """A trained network in ONNX Runtime, on the CPU."""

    def __init__(self, weights: Weights) -> None:
        """Raises UserError for models without palettes, and where the weights are not those of their config."""
        from palgan_jax.export.onnx_model import onnx_model, open_session

        self._weights, self._session = weights, open_session(onnx_model(weights))
        (self._bins,) = self._session.get_inputs()[1].shape[1:]

    def predict(self, lightness: np.ndarray, palette: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Predicts colors for L (B, R, R) in [0, 100] and palettes (B, K), or None for the predicted ones.

        Returns the palettes used (B, K) and ab (B, R, R, 2) in Lab units. Raises UserError for a palette of zeros,
        which means none there, and where the weights are not those of their config.
        """
        if palette is None:
            palette = np.zeros((len(lightness), self._bins), np.float32)
        elif not palette.sum(axis=1).min() > 0:
            raise UserError("a palette without colors paints nothing: give another, or none for the predicted one.")
        try:
            ab, used = self._session.run(["ab", "used_palette"], {"lightness": lightness[:, None], "palette": palette})
        except Exception as error:  # the types of its errors are private
            raise misfit(self._weights, error) from error
        return np.asarray(used), np.moveaxis(np.asarray(ab), 1, -1)
