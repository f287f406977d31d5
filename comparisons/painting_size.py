"""Measures whether G should paint 128 or 256 pixels a side: one is trained for each, from nothing and equally long.

    python -m comparisons.painting_size TRAIN VAL --palette runs/palette --runs runs/painting_size

TRAIN and VAL are folders of photographs, and runs/palette is the first run of the bundled model (docs/model.md). E and
the palette's layers are those of its best step, and stay so. G and the convolutions that bring E's maps to it begin
with new weights in both runs, and learn for 1,500 steps as in the bundled model's second run. An interrupted command
goes on.

Networks are measured alone on VAL at 256 x 256, as in `comparisons.little_data`.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from comparisons.ablations import evaluated
from comparisons.little_data import arguments, table, train
from palgan_jax.checkpoint.weights_file import save_weights
from palgan_jax.config import from_dict
from palgan_jax.nn.build import build_generator
from palgan_jax.training.start import find_model, without_taps
from palgan_jax.util.trees import flatten_names, unflatten_names

STEPS = 1500
STRIDES = {"128 x 128": 2, "256 x 256": 1}


def with_palettes_of(learned: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Returns new variables, but for those by which palettes are predicted: E and the palette's layers as learned."""
    kept = flatten_names(without_taps(learned))
    of_palettes = {name: value for name, value in kept.items() if "/palette_generator/" in name}
    return unflatten_names({**flatten_names(new), **of_palettes})


def write_start(path: Path, palette: Path, stride: int) -> None:
    """Writes what a run begins with: palettes as a run has learned them, and a new G of a stride."""
    learned = find_model(str(palette))
    nested = {**learned.config, "net": {**learned.config["net"], "paint_stride": stride}}
    config = from_dict(nested)
    l, c = (np.zeros((1, config.resolution, config.resolution, channels), np.float32) for channels in (1, 2))
    new = jax.device_get(build_generator(config).init(jax.random.key(config.seed), l, c, method="everything"))
    save_weights(path, replace(learned, variables=with_palettes_of(learned.variables, new), config=nested, metrics={}))


def main() -> None:
    """Trains what is not trained yet, and prints the table."""
    args = arguments(__doc__)
    rows = {}
    for name, stride in STRIDES.items():
        workdir, start = args.runs / f"stride-{stride}", args.runs / f"start-{stride}.safetensors"
        if not start.exists():
            write_start(start, args.palette, stride)
        train(args.train, args.val, start, workdir, {"total": f"{STEPS} steps", "eval_every": "500 steps"})
        rows[name] = evaluated(workdir, ("automatic", "truth"), args.val, STEPS)
    print(*table(rows), sep="\n")


if __name__ == "__main__":
    main()
