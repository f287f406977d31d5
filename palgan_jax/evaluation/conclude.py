"""Makes the results of what was measured: numbers of the whole set, and the facts that belong to the numbers."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import jax
import numpy as np

from palgan_jax import __version__
from palgan_jax.evaluation.plan import Plan, warn_of_difference
from palgan_jax.evaluation.protocols import ListDifference, Protocol, difference, list_sha256
from palgan_jax.evaluation.record import Evaluation
from palgan_jax.evaluation.resize import RESIZES
from palgan_jax.evaluation.resume import Partial
from palgan_jax.evaluation.systems import Predictions
from palgan_jax.metrics.catalogue import FEATURE_NAMES, with_companions
from palgan_jax.metrics.frechet import Moments
from palgan_jax.metrics.measure import measure_set

log = logging.getLogger(__name__)

FEWEST_FOR_FID = 2048
"""With fewer pictures than features the covariance is singular, and the number says next to nothing."""
_CALIBRATED = 0.05  # how far the truth's mean colorfulness may be off what is published


def conclude(plan: Plan, partial: Partial, facts: Mapping[str, Any]) -> Evaluation:
    """Returns the results of the rows and moments of all photographs of a plan, of which at least one can be read.

    `facts`: what else to write down.
    """
    rows, protocol = dict(partial.rows), plan.protocol
    mask, all_names = rows.pop("mask"), rows.pop("name")
    names, unreadable = all_names[mask].tolist(), all_names[~mask].tolist()
    unreadable += [name for name, _ in plan.truth.problems if protocol.names is None]
    differences = difference(protocol, names)
    if plan.photographs.names is None:  # else this was said before the first batch
        warn_of_difference(protocol, names)
        if isinstance(plan.system, Predictions):
            plan.system.match(names)
    values = {name: column[mask].astype(np.float64) for name, column in rows.items()}
    set_values, reasons = _numbers_of_set(plan, values, partial.moments)
    measurement = _facts_of_measurement(plan, differences, unreadable)
    calibration = {} if differences or unreadable else _calibration(protocol, values)
    return Evaluation(
        system=plan.system.label,
        protocol=protocol.name,
        protocol_exact=not differences and not unreadable,
        list_sha256=list_sha256(names),
        count=len(names),
        resize=RESIZES[protocol.resize].description.format(side=protocol.side),
        palette=plan.system.palette,
        names=_distinct(names),
        values=values,
        whole=set_values,
        absent=plan.absent | reasons,
        weights=plan.system.weights | plan.networks.sha256,
        facts={**facts, **measurement, **calibration},
    )


def _distinct(names: Sequence[str]) -> list[str]:
    """Returns the names with a number behind each that occurs again, as those inside records may."""
    counts: Counter[str] = Counter()
    distinct = []
    for name in names:
        counts[name] += 1
        distinct.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return distinct


def _numbers_of_set(
    plan: Plan, values: dict[str, np.ndarray], moments: dict[str, Moments]
) -> tuple[dict[str, float], dict[str, str]]:
    """Returns the numbers of the whole set, and why others cannot be had of it."""
    names = with_companions(plan.metrics)
    inputs: dict[str, Any] = values | moments
    if plan.has_reference:
        inputs[FEATURE_NAMES[1]] = moments["reference"]
    reasons = {}
    if "fid" in names and min(inputs[name].count for name in FEATURE_NAMES) < 2:
        names, reasons = [name for name in names if name != "fid"], {"fid": "it needs at least two pictures"}
    set_values = measure_set(inputs, names)
    if "fid" in set_values:
        set_values[plan.networks.fid] = set_values.pop("fid")
        if (count := inputs[FEATURE_NAMES[0]].count) < FEWEST_FOR_FID:
            log.warning("%s", _few(count))
    return set_values, reasons


def _facts_of_measurement(plan: Plan, differences: ListDifference, unreadable: list[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "version": __version__,
        "jax": jax.__version__,
        "devices": f"{plan.mesh.size} {jax.default_backend()} ({jax.devices()[0].device_kind})",
        "processes": jax.process_count(),
        "seed": plan.seed,
        "fingerprint": plan.fingerprint,
    }
    if "fid" in plan.metrics:
        reference = "the truth's own pictures"
        if plan.protocol.reference is not None:
            reference = f"{len(plan.protocol.reference()):,} other pictures"
        inception = "pytorch-fid's Inception" if plan.networks.fid == "fid" else "another Inception"
        facts["fid"] = f"{inception}, against {reference}"
        if (count := len(plan.photographs) - len(unreadable)) < FEWEST_FOR_FID:
            facts["fid"] += f"; {_few(count)}"
    if differences:
        facts["difference from the list"] = str(differences)
    if unreadable:
        facts["unreadable"] = unreadable
    return facts


def _calibration(protocol: Protocol, values: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Compares the truth's colorfulness with what is published: another tells of another resize or decoder."""
    published = protocol.truth_colorfulness
    if published is None or "colorfulness_truth" not in values:
        return {}
    mean = values["colorfulness_truth"].mean()
    sentence = f"the truth's mean colorfulness is {mean:.2f} and published as {published:.2f}"
    if abs(mean - published) > _CALIBRATED:
        log.warning("%s: look for what is different about these pictures", sentence)
    return {"calibration": sentence}


def _few(count: int) -> str:
    return f"FID of {count:,} pictures means next to nothing, since it takes at least {FEWEST_FOR_FID:,}"
