"""The catalogue of metrics: complete, in one place, and what the documentation says."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import palgan_jax.metrics
from palgan_jax.metrics.catalogue import (
    ALWAYS,
    EVALUATION,
    FEATURE_NAMES,
    METRICS,
    OPTIONAL,
    VARIANTS,
    find_metric,
    in_order,
    validation_names,
    with_companions,
)
from palgan_jax.metrics.measure import measure
from palgan_jax.pretrained.kinds import KINDS
from tests.support.metric_recipe import picture
from tests.support.places import ROOT

NO_METRICS = {"__init__", "catalogue", "measure", "confidence"}
PICTURES = {"predicted", "truth"}


def module(row):
    function = row.compute.func if isinstance(row.compute, partial) else row.compute
    return function.__module__.removeprefix("palgan_jax.").removeprefix("metrics.")


def test_each_file_of_a_metric_has_its_row_and_each_row_its_file():
    files = {path.stem for path in Path(palgan_jax.metrics.__path__[0]).glob("*.py")} - NO_METRICS
    modules = {module(row) for row in METRICS.values() if row.compute is not None}
    assert modules == files | {"color"}  # colorfulness, which the scan of a data set needs as well


def test_rows_hold_together():
    for name, row in METRICS.items():
        assert name == row.name and row.label and row.meaning and not row.meaning.endswith(".")
        assert set(row.weights) <= set(KINDS)
        if row.with_metric:
            assert not METRICS[row.with_metric].with_metric
        if row.of_set:
            assert set(row.inputs) <= METRICS.keys() | set(FEATURE_NAMES)
    assert with_companions(["fid", "psnr"]) == ("psnr", "fid", "fid_other_weights")
    assert in_order(["beauty", "ssim", "psnr"]) == ["psnr", "ssim", "beauty"]


def test_directions_of_names_with_a_suffix():
    directions = {name: find_metric(name).direction for name in ("ab_error_truth_palette", "psnr_gray", "beauty")}
    assert directions == {"ab_error_truth_palette": "lower", "psnr_gray": "higher", "beauty": "neither"}
    assert find_metric("colorfulness_truth").inputs == ("truth",)
    assert find_metric("colorfulness_truth_palette").inputs == ("predicted",)


def test_no_two_quantities_of_validation_share_a_name():
    names = validation_names(("ssim", "fid", "palette_distance"), palettes=True, fid="fid_other_weights")
    assert len(set(names)) == len(names)
    assert {"palette_distance", "predicted_palette_distance", "fid_other_weights", "colorfulness_truth"} <= set(names)
    plain = validation_names((), palettes=False)
    assert set(plain) < set(names) and not any("palette" in name for name in plain)
    assert not set(ALWAYS) & set(OPTIONAL)


def test_a_name_means_the_same_in_validation_and_in_results():
    """A name in both is one row, computed of the same inputs; the others of validation are in no results."""
    validated = set(validation_names(OPTIONAL, palettes=True))
    results = set(with_companions(EVALUATION))
    for name in validated & results:
        assert find_metric(name) is METRICS[name] and METRICS[name].when == "default"
        assert set(METRICS[name].inputs) <= PICTURES | set(FEATURE_NAMES)
    for name in validated - results:
        assert name not in METRICS or METRICS[name].when == "validation"
        assert find_metric(name).meaning, "known by its row or by a suffix"


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pictures_may_be_bytes_or_floats(dtype):
    names = [name for name, row in METRICS.items() if set(row.inputs) <= PICTURES and not row.weights]
    pictures = {part: np.stack([picture(f"{part} {i}", 40, 40) for i in range(2)]) for part in PICTURES}
    values = jax.jit(partial(measure, {}, metrics=names))({k: rgb.astype(dtype) for k, rgb in pictures.items()})
    assert set(values) == set(names) and all(value.shape == (2,) for value in values.values())
    for name, value in values.items():
        floats = [jnp.asarray(pictures[key], jnp.float32) for key in METRICS[name].inputs]
        np.testing.assert_allclose(value, METRICS[name].compute(*floats), rtol=1e-5, atol=1e-5, err_msg=name)


def documented() -> str:
    """Returns the table of docs/evaluation.md as the catalogue has it."""
    lines = ["| name | what it measures | better | source |", "|---|---|---|---|"]
    for row in METRICS.values():
        better = "" if row.direction == "neither" else row.direction
        lines.append(f"| `{row.name}` | {row.meaning} | {better} | {row.source} |")
    return "\n".join(lines)


def test_the_documentation_has_the_rows_of_the_catalogue():
    text = (ROOT / "docs" / "evaluation.md").read_text()
    assert documented() in text, f"the table in docs/evaluation.md should be\n{documented()}"
    assert all(f"`{suffix}`" in text for suffix in VARIANTS if suffix)
