"""The folder that an evaluation leaves behind: results.json, pictures.csv, row.md and report.html."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from palgan_jax.evaluation.record import Evaluation, Shown, Summary, ordered, summarise
from palgan_jax.evaluation.report import report
from palgan_jax.evaluation.table import markdown
from palgan_jax.metrics.confidence import LEVEL, RESAMPLES
from palgan_jax.writing import make_folder, write_file

RESULTS, PICTURES, ROW, REPORT = "results.json", "pictures.csv", "row.md", "report.html"


def write_results(folder: str | Path, evaluation: Evaluation, pictures: Callable[[int], Shown]) -> None:
    """Writes what was found into `folder`, which is made; every file whole or not at all, results.json last.

    `pictures` gives what the report shows of a picture by its number in evaluation.names. Raises UserError where the
    folder cannot be written to.
    """
    folder = Path(folder)
    make_folder(folder)
    summary = summarise(evaluation)
    write_file(folder / PICTURES, _as_csv(evaluation))
    write_file(folder / ROW, markdown(evaluation, summary).encode("utf-8", "replace"))
    write_file(folder / REPORT, report(evaluation, summary, pictures).encode())
    write_file(folder / RESULTS, _as_json(evaluation, summary))


def _as_json(evaluation: Evaluation, summary: Summary) -> bytes:
    found = {
        "system": evaluation.system,
        "protocol": evaluation.protocol,
        "protocol_exact": evaluation.protocol_exact,
        "list_sha256": evaluation.list_sha256,
        "count": evaluation.count,
        "resize": evaluation.resize,
        "palette": evaluation.palette,
        "metrics": summary,
        "intervals": {"method": "percentile bootstrap over pictures", "level": LEVEL, "resamples": RESAMPLES},
        "absent": dict(sorted(evaluation.absent.items())),
        "weights": dict(sorted(evaluation.weights.items())),
        "facts": dict(sorted(evaluation.facts.items())),
    }
    return (json.dumps(found, indent=2, allow_nan=False) + "\n").encode()


def _as_csv(evaluation: Evaluation) -> bytes:
    metrics = ordered(evaluation.values)
    columns = [np.asarray(evaluation.values[name], np.float64).tolist() for name in metrics]
    text = io.StringIO(newline="")
    # Names are always quoted and numbers never, so that a reader can tell the name 1 from the number.
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["name", *metrics])
    writer.writerows(zip(evaluation.names, *columns, strict=True))
    # File names need not be text; their bytes survive.
    return text.getvalue().encode("utf-8", "surrogateescape")
