"""A real model that paints strongly, for the tests of colorizing: a network of tiny width with random weights."""

import zlib
from functools import cache
from typing import Any

import jax
import numpy as np

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.config import default_config
from palgan_jax.nn.build import build_generator


@cache
def tiny_weights(model: str = "palgan", fields: tuple[tuple[str, Any], ...] = ()) -> Weights:
    """Returns the weights of a network of width 1/16 at 64 x 64 whose colors are far from gray.

    `fields`: names and values of fields of the config that differ.
    """
    config = default_config()
    config.update({"resolution": 64, "model": model})
    config.net.update({"width": 1 / 16})
    config.update_from_flattened_dict(dict(fields))
    network = build_generator(config)
    l = jax.ShapeDtypeStruct((1, config.resolution, config.resolution, 1), np.float32)
    c = jax.ShapeDtypeStruct((*l.shape[:3], 2), np.float32)
    shapes = jax.eval_shape(lambda l, c: network.init(jax.random.key(0), l, c, method="everything"), l, c)

    def draw(path, leaf) -> np.ndarray:
        # The names decide, not the order, so that a change of the network elsewhere leaves the rest as it was.
        name = jax.tree_util.keystr(path)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        if "batch_stats" in name or "sigma" in name:
            return np.ones(leaf.shape, np.float32) * ("mean" not in name)
        fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 4
        return rng.standard_normal(leaf.shape).astype(np.float32) * np.float32(1 / np.sqrt(fan_in))

    variables = jax.tree_util.tree_map_with_path(draw, shapes)
    return Weights(variables, config.to_dict(), 1234, source="step 1234 of a tiny model")
