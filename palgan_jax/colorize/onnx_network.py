"""A trained network in ONNX Runtime, on the CPU."""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.errors import UserError
from palgan_jax.export.onnx_model import onnx_model
from palgan_jax.export.onnx_session import open_session
from palgan_jax.export.refusals import misfit
from palgan_jax.palette.regions import Regions


class OnnxNetwork:
    """See `engines.Network`. It is for several threads.

    The painters, for other sizes than the network's own and for palettes of regions, are made when they are needed.
    """

    takes_turns = False

    def __init__(self, weights: Weights, config: Any) -> None:
        """Raises UserError for models without palettes, and where the weights are not those of their config."""
        self._weights, self._resolution, self._bins = weights, int(config.resolution), int(config.palette.bins) ** 2
        self._session = self._open()
        self._painters: dict[tuple[int, int], onnxruntime.InferenceSession] = {}
        self._opening = threading.Lock()

    def predict(self, lightness: np.ndarray, palette: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Does what `engines.Network` says. Raises UserError for a palette of zeros, which means none there."""
        if palette is None:
            palette = np.zeros((len(lightness), self._bins), np.float32)
        else:
            _check_colors(palette)
        ab, palettes = self._run(
            self._session, ["ab", "used_palette"], {"lightness": lightness[:, None], "palette": palette}
        )
        return palettes, np.moveaxis(ab, 1, -1)

    def predict_palettes(self, lightness: np.ndarray) -> np.ndarray:
        """Does what `engines.Network` says."""
        no_palettes = np.zeros((len(lightness), self._bins), np.float32)
        (palettes,) = self._run(
            self._session, ["used_palette"], {"lightness": lightness[:, None], "palette": no_palettes}
        )
        return palettes

    def paint(self, lightness: np.ndarray, h: np.ndarray | Regions) -> np.ndarray:
        """Does what `engines.Network` says. Raises UserError for a palette of zeros."""
        side, inputs = lightness.shape[1], {"lightness": lightness[:, None]}
        if isinstance(h, Regions):
            palettes, shares = (np.asarray(x, np.float32) for x in h)
            painter = self._painter(side, palettes.shape[1])
            inputs |= {"palette": palettes, "shares": np.ascontiguousarray(np.moveaxis(shares, -1, 1))}
        elif side == self._resolution:
            return self.predict(lightness, h)[1]
        else:
            painter = self._painter(side, 0)
            inputs |= {"palette": h}
        _check_colors(inputs["palette"])
        (ab,) = self._run(painter, ["ab"], inputs)
        return np.moveaxis(ab, 1, -1)

    def _painter(self, side: int, regions: int) -> onnxruntime.InferenceSession:
        with self._opening:
            if (side, regions) not in self._painters:
                self._painters[side, regions] = self._open(painter=True, side=side, regions=regions)
            return self._painters[side, regions]

    def _open(self, **options: Any) -> onnxruntime.InferenceSession:
        # The others of a batch's pictures have work for the other cores, but for large ones.
        threads = 0 if options.get("side", 0) > self._resolution else 1
        return open_session(onnx_model(self._weights, **options).SerializeToString(), threads)

    def _run(
        self, session: onnxruntime.InferenceSession, names: list[str], inputs: Mapping[str, np.ndarray]
    ) -> list[np.ndarray]:
        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = True
        try:
            return [np.asarray(value) for value in session.run(names, inputs, options)]
        except Exception as error:  # the types of its errors are private
            raise misfit(self._weights, error) from error


def _check_colors(palettes: np.ndarray) -> None:
    if not palettes.sum(axis=-1).min() > 0:
        raise UserError("a palette without colors paints nothing: give another, or none for the predicted one.")
