"""The folder that an evaluation leaves behind: results.json, pictures.csv, row.md, report.html and some pictures.

The first two hold all results and can be read again; the others are made of them, for people.
"""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from palgan_jax.errors import UserError
from palgan_jax.evaluation.kept_pictures import keep_pictures
from palgan_jax.evaluation.record import Evaluation, Example, Summary, summarize
from palgan_jax.evaluation.report import report
from palgan_jax.evaluation.table import markdown
from palgan_jax.metrics.catalogue import FORMER_NAMES, in_order
from palgan_jax.metrics.confidence import LEVEL, RESAMPLES
from palgan_jax.util.files import make_folder, write_file

RESULTS, PICTURES, ROW, REPORT = "results.json", "pictures.csv", "row.md", "report.html"


def write_results(folder: str | Path, evaluation: Evaluation, pictures: Callable[[int], Example]) -> None:
    """Writes the results into `folder`, which is made; every file whole or not at all, results.json last.

    `pictures` returns what the report shows of a picture, by its number in evaluation.names. Of few pictures, all are
    written as well (see `kept_pictures`). Raises UserError where the folder cannot be written to.
    """
    folder = Path(folder)
    make_folder(folder)
    pictures = keep_pictures(folder, evaluation.count, pictures)
    summary = summarize(evaluation)
    contents = {
        PICTURES: _as_csv(evaluation),
        ROW: markdown(evaluation, summary).encode("utf-8", "replace"),
        REPORT: report(evaluation, summary, pictures).encode(),
        RESULTS: _as_json(evaluation, summary),
    }
    for name, content in contents.items():
        write_file(folder / name, content)


def _as_json(evaluation: Evaluation, summary: Summary) -> bytes:
    contents = {
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
    return (json.dumps(contents, indent=2, allow_nan=False) + "\n").encode()


def _as_csv(evaluation: Evaluation) -> bytes:
    metrics = in_order(evaluation.values)
    columns = [np.asarray(evaluation.values[name], np.float64).tolist() for name in metrics]
    text = io.StringIO(newline="")
    # Names are always quoted and numbers never, so that a reader can tell the name 1 from the number.
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["name", *metrics])
    writer.writerows(zip(evaluation.names, *columns, strict=True))
    # File names need not be text; their bytes survive.
    return text.getvalue().encode("utf-8", "surrogateescape")


def read_results(folder: str | Path) -> Evaluation:
    """Reads what `write_results` wrote into `folder`, also in earlier versions, which called some metrics otherwise.

    Raises UserError where there is nothing, or half of it is missing.
    """
    folder = Path(folder)
    try:
        contents: dict[str, Any] = json.loads((folder / RESULTS).read_bytes())
        table = (folder / PICTURES).read_bytes().decode("utf-8", "surrogateescape")
        (_, *metrics), *rows = csv.reader(io.StringIO(table, newline=""), quoting=csv.QUOTE_NONNUMERIC)
        names = [name for name, *_ in rows]
        numbers = np.array([row[1:] for row in rows], np.float64).reshape(len(rows), len(metrics))
        fields = ("system", "protocol", "protocol_exact", "list_sha256", "count", "palette")
        return Evaluation(
            **{name: contents[name] for name in (*fields, "weights", "facts")},
            resize=contents["resize"].replace("centre crop", "center crop"),  # as earlier versions wrote it
            names=names,
            values={FORMER_NAMES.get(name, name): numbers[:, i] for i, name in enumerate(metrics)},
            whole={name: entry["value"] for name, entry in contents["metrics"].items() if "value" in entry},
            absent={FORMER_NAMES.get(name) or name: reason for name, reason in contents["absent"].items()},
        )
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} holds no {Path(error.filename).name}: name a folder that palgan evaluate wrote to."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(f"the results in {folder} cannot be read ({error}): measure again.") from error
