"""The catalogue of metrics: one row for everything that is measured of colorized pictures.

A metric is a file of this folder, with a pure function, and a row here. Validation, `palgan evaluate`, its tables and
reports take names, directions, needs and labels from these rows, and docs/evaluation.md shows them. To add a metric,
write its file and its row.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from palgan_jax.color import colorfulness
from palgan_jax.metrics.ab_error import ab_error
from palgan_jax.metrics.bleeding import color_bleeding
from palgan_jax.metrics.ciede2000 import color_difference
from palgan_jax.metrics.colorfulness import delta_colorfulness
from palgan_jax.metrics.frechet import frechet_distance
from palgan_jax.metrics.lpips import diversity, lpips
from palgan_jax.metrics.luminance import luminance_error
from palgan_jax.metrics.palette_distance import palette_distance, predicted_palette_distance
from palgan_jax.metrics.psnr import psnr
from palgan_jax.metrics.size_consistency import size_consistency
from palgan_jax.metrics.ssim import ssim

Direction = Literal["higher", "lower", "neither"]
When = Literal["default", "on request", "validation"]

FEATURE_NAMES = ("predicted_features", "truth_features")
"""The inputs of FID: Inception's features (B, 2048) of a batch, and `frechet.Moments` of a whole set."""


@dataclass(frozen=True)
class Metric:
    """One row of the catalogue.

    Attributes:
      name: its name in results.json and pictures.csv, and as "val/NAME" in metrics.jsonl.
      label: its name in tables.
      meaning: what it measures, with unit and range, in one line.
      direction: which of two values is better; "neither" where nearness to the truth's value counts, or nothing.
      compute: a pure function of `inputs`, in their order, and before them of the weights where it needs any. It
        returns a value a picture (B,), or the number of a whole set. None: the value is that of another row's function.
      inputs: "predicted" and "truth" are sRGB (B, H, W, 3) in [0, 255], uint8 or float32. "predicted_ab" and "truth_ab"
        are (B, H, W, 2) in units of Lab, before any rounding. "predicted_palette" and "truth_palette" are (B, K).
        "answers" is a list of several "predicted", and "ab_by_size" one of "predicted_ab". Metrics of whole sets take
        FEATURE_NAMES, or the values (N,) of other rows.
      decimals: how many are printed.
      when: "default": measured by `palgan evaluate` unless told otherwise, and by validation where `eval_metrics` names
        it. "on request": by `palgan evaluate` alone, where it is named, since it paints a picture several times.
        "validation": while training alone, since it needs what the model returns.
      of_set: True for one number of a whole set, computed on the host.
      with_metric: the metric beside which this one is always measured; empty where it is asked for itself.
      weights: the kinds of weights that it needs (`pretrained.kinds`), of which loading the first loads all.
      source: who defined it.
    """

    name: str
    label: str
    meaning: str
    direction: Direction
    compute: Callable[..., Any] | None
    inputs: tuple[str, ...] = ("predicted", "truth")
    decimals: int = 3
    when: When = "default"
    of_set: bool = False
    with_metric: str = ""
    weights: tuple[str, ...] = ()
    source: str = ""


# fmt: off
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("psnr", "PSNR", "peak signal-to-noise ratio of all pixels and channels, in dB; 100 for equal pictures",
            "higher", psnr, decimals=2),
        Metric("ssim", "SSIM",
            "structural similarity, Gaussian 11 x 11, sigma 1.5, data range 255, where the window fits; -1 to 1",
            "higher", ssim, source="Wang et al., 2004"),
        Metric("lpips_alexnet", "LPIPS (AlexNet)", "LPIPS 0.1, distance in AlexNet's features; 0 for equal pictures",
            "lower", partial(lpips, network="alexnet"), weights=("lpips-alexnet", "alexnet"),
            source="Zhang et al., 2018"),
        Metric("lpips_vgg16", "LPIPS (VGG16)", "LPIPS 0.1, distance in VGG16's features; 0 for equal pictures", "lower",
            partial(lpips, network="vgg16"), weights=("lpips-vgg16", "vgg16"), source="Zhang et al., 2018"),
        Metric("fid", "FID", "distance of the two sets in the features of pytorch-fid's Inception; 0 for equal sets",
            "lower", frechet_distance, FEATURE_NAMES, decimals=2, of_set=True, weights=("inception",),
            source="Heusel et al., 2017"),
        Metric("fid_other_weights", "FID, other weights",
            "the same with any other Inception, in place of `fid`: not the field's FID", "lower", None, FEATURE_NAMES,
            decimals=2, of_set=True, with_metric="fid"),
        Metric("colorfulness", "CF",
            "colorfulness of the prediction, opponent channels taken absolutely, as the field's tables do; from 0",
            "neither", colorfulness, ("predicted",), decimals=2),
        Metric("colorfulness_truth", "CF of the truth", "the same of the truth", "neither", colorfulness, ("truth",),
            decimals=2, with_metric="colorfulness"),
        Metric("colorfulness_signed", "CF, signed",
            "colorfulness of the prediction as first defined, with signed opponent channels; from 0", "neither",
            partial(colorfulness, signed=True), ("predicted",), decimals=2, with_metric="colorfulness",
            source="Hasler and Süsstrunk, 2003"),
        Metric("colorfulness_signed_truth", "CF of the truth, signed", "the same of the truth", "neither",
            partial(colorfulness, signed=True), ("truth",), decimals=2, with_metric="colorfulness",
            source="Hasler and Süsstrunk, 2003"),
        Metric("delta_cf", "delta CF", "absolute difference of the mean colorfulness of predictions and truths; from 0",
            "lower", delta_colorfulness, ("colorfulness", "colorfulness_truth"), decimals=2, of_set=True,
            with_metric="colorfulness"),
        Metric("ciede2000", "CIEDE2000", "mean color difference of pixels, 0 to about 120; 1 is just visible", "lower",
            color_difference, decimals=2, source="Sharma et al., 2005"),
        Metric("palette_distance", "palette distance",
            "Hellinger distance of the 16 x 16 palettes of prediction and truth, 0 to 1", "lower", palette_distance),
        Metric("luminance_error", "luminance error",
            "largest change of L in a picture, 0 to 100; rounding to bytes alone gives about 0.25", "lower",
            luminance_error, decimals=2),
        Metric("bleeding", "bleeding",
            "width of color transitions at the truth's edges, 0 sharp, 1 as if there were no edge", "lower",
            color_bleeding, source="this project, after Marziliano et al., 2002"),
        Metric("diversity", "diversity",
            "mean LPIPS (AlexNet) between four answers to one photograph, with palettes of other photographs; from 0",
            "neither", partial(diversity, network="alexnet"), ("answers",), when="on request",
            weights=("lpips-alexnet", "alexnet"), source="Zhu et al., 2017"),
        Metric("size_consistency", "size consistency",
            "mean ab difference of the colors of a photograph at 256, 512 and 1024 pixels a side; from 0", "lower",
            size_consistency, ("ab_by_size",), decimals=2, when="on request", source="this project"),
        Metric("ab_error", "ab error", "mean distance of the painted a and b from the truth's, in units of Lab; from 0",
            "lower", ab_error, ("predicted_ab", "truth_ab"), decimals=2, when="validation"),
        Metric("predicted_palette_distance", "predicted palette distance",
            "Hellinger distance of the predicted palette from the truth's, counted as the model does, 0 to 1", "lower",
            predicted_palette_distance, ("predicted_palette", "truth_palette"), when="validation"),
    )
}
# fmt: on
"""All rows by name, in the order of tables."""

DEFAULT = tuple(name for name, row in METRICS.items() if row.when == "default" and not row.with_metric)
"""What `palgan evaluate` measures unless it is told otherwise."""
EVALUATION = tuple(name for name, row in METRICS.items() if row.when != "validation" and not row.with_metric)
"""What `--metrics` of `palgan evaluate` may name."""

# ----------------------------------------------------------------------------------------------------------- validation

ALWAYS = ("psnr", "ab_error", "colorfulness", "colorfulness_truth", "predicted_palette_distance")
"""What validation measures whatever `eval_metrics` says; the last one of models that predict a palette."""
OPTIONAL = tuple(name for name in DEFAULT if name not in ALWAYS)
"""What `eval_metrics` may name."""
VARIANTS: dict[str, tuple[str, ...]] = {
    "": ALWAYS,
    "_truth_palette": ("psnr", "ab_error", "colorfulness"),
    "_mean_palette": ("psnr", "ab_error", "predicted_palette_distance"),
    "_median_palette": ("psnr", "ab_error", "predicted_palette_distance"),
    "_gray": ("psnr", "ab_error"),
    "_mean_ab": ("psnr", "ab_error"),
}
"""What validation always measures of each way to color a picture, by the suffix of the names: by the model alone; by
the model with the truth's palette, or with the training set's mean or median palette for all pictures, which a palette
generator has to beat; not at all; and with the training set's mean color everywhere."""


def validation_names(optional: Collection[str], *, palettes: bool, fid: str = "fid") -> tuple[str, ...]:
    """Returns the names of all that validation measures, without "val/".

    Args:
      optional: the metrics that `eval_metrics` names, out of OPTIONAL.
      palettes: whether the model has palettes, as the kind "palgan" has.
      fid: the name that FID goes by with the weights that there are (`measure.Networks.fid`).
    """
    names = [
        f"{name}{suffix}"
        for suffix, group in VARIANTS.items()
        for name in group
        if palettes or not (suffix.endswith("_palette") or name == "predicted_palette_distance")
    ]
    return (*names, *(fid if name == "fid" else name for name in OPTIONAL if name in optional))


# ------------------------------------------------------------------------------------------------------------- look-ups


def find_metric(name: str) -> Metric:
    """Returns the row of a metric, also of a name with a suffix of VARIANTS; for others one that repeats the name."""
    for suffix in VARIANTS:
        if (row := METRICS.get(name.removesuffix(suffix))) is not None:
            return row
    return Metric(name, name, "", "neither", None, ())


def with_companions(names: Collection[str]) -> tuple[str, ...]:
    """Returns the names and those of all rows that are measured with them, in the order of the catalogue."""
    return tuple(name for name, row in METRICS.items() if name in names or row.with_metric in names)


def in_order(names: Collection[str]) -> list[str]:
    """Returns names in the order of the catalogue, then those that it does not have, by alphabet."""
    return [name for name in METRICS if name in names] + sorted(name for name in names if name not in METRICS)


FORMER_NAMES = {
    "colourfulness": "colorfulness",
    "colourfulness_truth": "colorfulness_truth",
    "colourfulness_signed": "colorfulness_signed",
    "colourfulness_signed_truth": "colorfulness_signed_truth",
}
"""Names in results.json and pictures.csv of earlier versions, and what they are called."""
