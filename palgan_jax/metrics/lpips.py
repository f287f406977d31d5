"""LPIPS 0.1 (Zhang et al., 2018): the distance of two pictures in the features of a network that knows objects.

Name the network with every number: "alexnet" is the one that its authors recommend for measuring, "vgg16" the one that
they trained for use as a loss. Weights: `imagenet_weights.load_metric_weights("lpips-alexnet")` or "lpips-vgg16".
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal

import jax
import jax.numpy as jnp

from palgan_jax.pretrained.vgg_alexnet import VGG16, AlexNet

Network = Literal["alexnet", "vgg16"]

# The activations that are compared, and their numbers of channels.
LAYERS: dict[Network, dict[str, int]] = {
    "alexnet": {"conv1": 64, "conv2": 192, "conv3": 384, "conv4": 256, "conv5": 256},
    "vgg16": {"conv1_2": 64, "conv2_2": 128, "conv3_3": 256, "conv4_3": 512, "conv5_3": 512},
}


def lpips(weights: Any, predicted: jax.Array, truth: jax.Array, *, network: Network) -> jax.Array:
    """LPIPS (B,) of sRGB pictures (B, H, W, 3) in [-1, 1]: 0 for equal ones, seldom above 1. H, W at least 32.

    weights: {"network": the parameters of `network`, "linear": {"lin0": {"weight": (64,)}, ...}}, the latter the
    non-negative weights of the channels of the five layers.
    """
    first, second = (unit_features(weights, rgb, network=network) for rgb in (predicted, truth))
    return distance(weights, first, second)


def unit_features(weights: Any, rgb: jax.Array, *, network: Network) -> list[jax.Array]:
    """The activations (B, h, w, C) of the five layers, each pixel's vector scaled to length 1."""
    net = AlexNet() if network == "alexnet" else VGG16(layers=tuple(LAYERS["vgg16"]))
    # Accelerators would multiply in bfloat16 or TF32.
    with jax.default_matmul_precision("highest"):
        features: Any = net.apply({"params": weights["network"]}, jnp.asarray(rgb, jnp.float32))
    return [f / (jnp.sqrt(jnp.sum(f * f, axis=-1, keepdims=True)) + 1e-10) for f in features]


def distance(weights: Any, first: Sequence[jax.Array], second: Sequence[jax.Array]) -> jax.Array:
    """LPIPS (B,) of two results of `unit_features`."""
    linear = [weights["linear"][f"lin{i}"]["weight"] for i in range(len(first))]
    terms = [
        jnp.mean(jnp.sum((f - s) ** 2 * w, axis=-1), axis=(1, 2)) for f, s, w in zip(first, second, linear, strict=True)
    ]
    return jnp.sum(jnp.stack(terms), axis=0)


def diversity(weights: Any, samples: Sequence[jax.Array], *, network: Network) -> jax.Array:
    """The mean LPIPS (B,) over all pairs of several colorizations of the same pictures, (B, H, W, 3) each in [-1, 1].

    How far the answers to one photograph lie apart (Zhu et al., "Toward Multimodal Image-to-Image Translation", 2017);
    0 where they are all the same. It does not say whether they are good. Raises ValueError for fewer than two.
    """
    if len(samples) < 2:
        raise ValueError(f"diversity is measured of two samples or more, got {len(samples)}")
    features = [unit_features(weights, rgb, network=network) for rgb in samples]
    return jnp.mean(jnp.stack([distance(weights, f, s) for f, s in combinations(features, 2)]), axis=0)
