"""Sample sheets while training: the same few pictures, colorized by the averaged weights of that step."""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from palgan_jax.color import from_bytes, to_bytes
from palgan_jax.config import palette_spec
from palgan_jax.data.eval_batches import eval_batches
from palgan_jax.data.source import Source
from palgan_jax.distributed.mesh import replicated
from palgan_jax.pages import Row, write_sheet
from palgan_jax.training.step import make_predict

COUNT = 12
"""Pictures on a sheet, at most."""


class SampleSheets:
    """Draws `FOLDER/step_00000100.png` of a few pictures: gray | ours | truth and the predicted palette."""

    def __init__(self, config: ConfigDict, generator: nn.Module, mesh: Mesh, source: Source, folder: Path):
        self._source, self._folder = source, folder
        self._spec, self._ab_range = palette_spec(config), config.ab_range
        self._has_palette = config.model == "palgan"  # other models have a code in its place
        # Every process colorizes the same pictures, so that none has to send its share to the one that draws.
        count = min(COUNT, len(source))
        batch = next(iter(eval_batches(source, resolution=config.resolution, batch_size=count)))
        self._rgb = batch["rgb"]
        everywhere = replicated(mesh)
        self._on_device = jax.device_put(self._rgb, everywhere)
        predict = make_predict(config, generator)

        def colorize(variables: Any, rgb: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            h, c = predict(variables, rgb)
            l, _ = from_bytes(rgb, config.ab_range)
            return h, to_bytes(l, c, config.ab_range), to_bytes(l, jnp.zeros_like(c))

        self._colorize = jax.jit(colorize, out_shardings=everywhere)

    def draw(self, step: int, variables: Any) -> None:
        """Writes the sheet of this step."""
        h, ours, gray = (np.asarray(x) for x in jax.device_get(self._colorize(variables, self._on_device)))
        if jax.process_index():
            return
        palettes = h if self._has_palette else [None] * len(h)
        rows = [
            Row(name=self._source.picture_name(i), gray=gray[i], ours=ours[i], truth=self._rgb[i], palette=palettes[i])
            for i in range(len(ours))
        ]
        write_sheet(
            rows, self._folder, f"Step {step:,}", name=f"step_{step:08d}.png", html=False, spec=self._spec,
            ab_range=self._ab_range,
        )  # fmt: skip
