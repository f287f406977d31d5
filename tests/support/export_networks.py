"""Small networks of every kind that can be exported, and what Flax computes with them."""

from functools import cache
from typing import Any

import jax
import numpy as np

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.config import from_dict
from palgan_jax.nn.build import build_generator
from tests.support.colorize_model import tiny_weights

LITE0 = {"net.encoder": "efficientnet_lite0", "net.paint_init": "he"}
NETWORKS: dict[str, dict[str, Any]] = {
    "as the paper has it": {},
    "instance, affine": {
        "net.norm": "instance", "net.local": "affine", "net.guide": "convolution", "net.tap": "before",
        "net.attention_residual": True,
    },
    "spade, local": {
        "net.norm": "spade", "net.attention": "local", "net.local": "guided_without_b", "net.guide": "convolution",
        "net.guided_radius": 12, "net.guided_eps": 1e-2, "net.palette_scale": 3.0, "ab_range": 128.0,
    },
    "batch, global": {
        "net.norm": "batch", "net.attention": "global", "net.normalize_palette": False, "palette.bins": 8,
    },
    "self": {"net.attention": "self", "net.spectral": False},
    "pretrained, none": {**LITE0, "net.attention": "none"},
    "pretrained, half": {**LITE0, "net.paint_stride": 2, "resolution": 128},
}  # fmt: skip


def weights_of(fields: dict[str, Any]) -> Weights:
    """Random weights of a tiny network, with batch statistics that differ from channel to channel.

    Layers whose results are multiplied, and the last one, are small: else the network multiplies what rounds
    differently more than a trained one does.
    """
    weights = tiny_weights(fields=tuple(fields.items()))
    rng = np.random.default_rng(1)

    def changed(path, x: np.ndarray) -> np.ndarray:
        names = [key.key for key in path]
        if names[0] == "batch_stats":
            return rng.uniform(*((-0.5, 0.5) if names[-1] == "mean" else (0.5, 2)), x.shape).astype(np.float32)
        return x / 4 if names[-2] in ("query", "key", "gamma", "colour") else x

    variables = jax.tree_util.tree_map_with_path(changed, weights.variables)
    return Weights(variables, weights.config, 1234, source="a tiny model")


@cache
def compiled(network):
    return jax.jit(network.apply)


def flax(weights: Weights, lightness: np.ndarray, palette: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The predicted palette (B, K), and ab (B, 2, H, W) in Lab units, painted with the given one."""
    config: Any = from_dict(weights.config)
    predicted, c = compiled(build_generator(config))(weights.variables, (lightness[..., None] - 50) / 100, palette)
    return np.asarray(predicted), np.moveaxis(np.asarray(c), -1, 1) * config.ab_range


def pictures(batch: int, height: int, width: int) -> np.ndarray:
    """L (B, H, W) in [0, 100] with flat parts and detail."""
    rng = np.random.default_rng(height)
    coarse = rng.uniform(10, 90, (batch, height // 8, width // 8)).repeat(8, axis=1).repeat(8, axis=2)
    return np.clip(coarse + rng.normal(0, 6, coarse.shape), 0, 100).astype(np.float32)


def palettes(batch: int, size: int) -> np.ndarray:
    return np.random.default_rng(size).dirichlet(np.ones(size), batch).astype(np.float32)
