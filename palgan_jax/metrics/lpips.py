"""LPIPS 0.1 (Zhang et al., 2018): the distance of two pictures in the features of a network that recognizes objects.

Name the network with every number: "alexnet" is the one that its authors recommend for measuring, "vgg16" the one that
they trained for use as a loss. Weights: `pretrained.load.load_metric_weights("lpips-alexnet")` or "lpips-vgg16".
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal

import jax
import jax.numpy as jnp

from palgan_jax.color import bytes_to_signed
from palgan_jax.pretrained.vgg_alexnet import LPIPS_VGG16_LAYERS, VGG16, AlexNet

Network = Literal["alexnet", "vgg16"]


def lpips(weights: Any, predicted: jax.Array, truth: jax.Array, *, network: Network) -> jax.Array:
    """Returns LPIPS (B,) of sRGB pictures (B, H, W, 3) in [0, 255]: 0 for equal ones, seldom above 1.

    H and W are at least 32. weights: {"network": the parameters of `network`, "linear": {"lin0": {"weight": (64,)},
    ...}}, the latter the non-negative weights of the channels of the five layers.
    """
    first, second = (unit_features(weights, rgb, network=network) for rgb in (predicted, truth))
    return distance(weights, first, second)


def unit_features(weights: Any, rgb: jax.Array, *, network: Network) -> list[jax.Array]:
    """Returns the activations (B, h, w, C) of the five layers, each pixel's vector scaled to length 1."""
    net = AlexNet() if network == "alexnet" else VGG16(layers=LPIPS_VGG16_LAYERS)
    # Accelerators would multiply in bfloat16 or TF32.
    with jax.default_matmul_precision("highest"):
        features: Any = net.apply({"params": weights["network"]}, bytes_to_signed(rgb))
    return [f / (jnp.sqrt(jnp.sum(f * f, axis=-1, keepdims=True)) + 1e-10) for f in features]


def distance(weights: Any, first: Sequence[jax.Array], second: Sequence[jax.Array]) -> jax.Array:
    """Returns LPIPS (B,) of two results of `unit_features`."""
    linear = [weights["linear"][f"lin{i}"]["weight"] for i in range(len(first))]
    terms = [
        jnp.mean(jnp.sum((f - s) ** 2 * w, axis=-1), axis=(1, 2)) for f, s, w in zip(first, second, linear, strict=True)
    ]
    return jnp.sum(jnp.stack(terms), axis=0)


def diversity(weights: Any, samples: Sequence[jax.Array], *, network: Network) -> jax.Array:
    """Returns the mean LPIPS (B,) over all pairs of several colorizations of the same pictures, each as for `lpips`.

    It tells how far the answers to one photograph lie apart (Zhu et al., "Toward Multimodal Image-to-Image
    Translation", 2017), 0 where they are all the same, and not whether they are good. Raises ValueError for fewer than
    two.
    """
    if len(samples) < 2:
        raise ValueError(f"diversity is measured of two samples or more, got {len(samples)}")
    features = [unit_features(weights, rgb, network=network) for rgb in samples]
    return jnp.mean(jnp.stack([distance(weights, f, s) for f, s in combinations(features, 2)]), axis=0)
