"""Sample sheets while training: the same few pictures, colorized by the averaged weights of that step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from PIL import Image

from palgan_jax.color import from_bytes, to_bytes
from palgan_jax.config import palette_spec
from palgan_jax.data.eval_batches import eval_batches
from palgan_jax.data.source import Source
from palgan_jax.distributed.mesh import replicated
from palgan_jax.pages import Row, write_sheet
from palgan_jax.palette.histogram import histogram
from palgan_jax.palette.palette import Palette
from palgan_jax.training.step import make_predict

COUNT = 12
"""Pictures on a sheet, at most."""


class SampleSheets:
    """Draws `FOLDER/step_00000100.png` of a few pictures: gray | ours | truth and the predicted palette."""

    def __init__(self, config: ConfigDict, generator: nn.Module, mesh: Mesh, source: Source, folder: Path):
        self._source, self._folder = source, folder
        self._spec, self._ab_range = palette_spec(config), config.ab_range
        self._on_board = config.tensorboard
        self._has_palette = config.model == "palgan"  # other models have a code in its place
        # Every process colorizes the same pictures, so that none has to send its share to the one that draws.
        count = min(COUNT, len(source))
        batch = next(iter(eval_batches(source, resolution=config.resolution, batch_size=count)))
        self._rgb = batch["rgb"]
        on_all = replicated(mesh)
        self._on_device = jax.device_put(self._rgb, on_all)
        predict = make_predict(config, generator)

        def colorize(variables: Any, rgb: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
            h, c = predict(variables, rgb)
            l, truth = from_bytes(rgb, config.ab_range)
            return h, to_bytes(l, c, config.ab_range), to_bytes(l, jnp.zeros_like(c)), histogram(truth, self._spec)

        self._colorize = jax.jit(colorize, out_shardings=on_all)

    def draw(self, step: int, variables: Any) -> dict[str, np.ndarray]:
        """Writes the sheet of this step.

        Returns "sheet" and, of a model with palettes, "palettes": uint8 (H, W, 3) each, the second with those that are
        predicted above those of the truth. Other processes than the first, and runs without
        TensorBoard, return nothing.
        """
        computed = jax.device_get(self._colorize(variables, self._on_device))
        h, colorized, gray, truth = (np.asarray(x) for x in computed)
        if jax.process_index():
            return {}
        predicted = self._palettes(h) if self._has_palette else []
        palettes = predicted or [None] * len(h)
        rows = [
            Row(self._source.picture_name(i), gray[i], {"ours": colorized[i]}, self._rgb[i], palettes[i])
            for i in range(len(colorized))
        ]
        path = write_sheet(rows, self._folder, f"Step {step:,}", name=f"step_{step:08d}.png", html=False)
        if not self._on_board:
            return {}
        with Image.open(path) as sheet:
            images = {"sheet": np.asarray(sheet.convert("RGB"))}
        if not predicted:
            return images
        return images | {"palettes": np.concatenate([_line(predicted), _line(self._palettes(truth))])}

    def _palettes(self, palettes: np.ndarray) -> list[Palette]:
        return [Palette(h, self._spec, self._ab_range) for h in palettes]


def _line(palettes: Sequence[Palette]) -> np.ndarray:
    """Draws palettes beside each other, with a gap; uint8 (H, W, 3)."""
    pictures = [np.asarray(palette.draw(128)) for palette in palettes]
    return np.concatenate([np.pad(x, ((4, 4), (4, 4), (0, 0)), constant_values=255) for x in pictures], axis=1)
