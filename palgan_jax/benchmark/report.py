"""The tables of a benchmark, as text."""

from collections.abc import Sequence
from typing import Any

from palgan_jax.benchmark.cost import Cost
from palgan_jax.benchmark.hlo_costs import Traffic
from palgan_jax.benchmark.topology import Peaks
from palgan_jax.util.text import aligned

MIB = 2**20

COLUMNS = (
    ("GFLOP an image", "gflop_per_image", "{:.2f}"),
    ("GB an image", "gb_per_image", "{:.3f}"),
    ("  of it in HBM", "hbm_gb_per_image", "{:.3f}"),
    ("operations a byte", "flop_per_byte", "{:.1f}"),
    ("HBM a chip, GiB", "hbm_gib_per_chip", "{:.2f}"),
    ("  arguments", "hbm_gib.arguments", "{:.2f}"),
    ("  temporaries", "hbm_gib.temporaries", "{:.2f}"),
    ("  program", "hbm_gib.code", "{:.2f}"),
    ("roofline, ms", "roofline_step_ms", "{:.2f}"),
    ("  limited by", "limited_by", "{}"),
    ("images a second a chip", "images_per_second_per_chip", "{:.0f}"),
    ("interconnect, ms", "interconnect_ms", "{:.2f}"),
    ("compile seconds", "compile_seconds", "{:.0f}"),
)


def figure(figures: dict[str, Any], name: str) -> Any:
    """Returns a figure by its dotted name, such as step_ms.median; None where there is none."""
    value: Any = figures
    for part in name.split("."):
        value = (value or {}).get(part)
    return value


def _cell(figures: dict[str, Any], name: str, style: str) -> str:
    value = figure(figures, name)
    return "-" if value is None else style.format(value)


def cost_report(title: str, costs: dict[str, Cost], peaks: Peaks, top: int) -> str:
    """Returns the tables of compiled functions: figures side by side, then traffic and large arrays of each."""
    figures = {name: cost.figures(peaks) for name, cost in costs.items()}
    rows = [["", *costs]]
    rows += [[label, *(_cell(f, key, style) for f in figures.values())] for label, key, style in COLUMNS]
    lines = [title, "", aligned(rows), "", _peaks_line(peaks)]
    for name, cost in costs.items():
        lines += ["", *_collectives(name, cost), *_notes(cost)]
    for name, cost in costs.items():
        lines += ["", *_traffic(name, cost, top), "", *_buffers(name, cost, top)]
    return "\n".join(lines)


def _peaks_line(peaks: Peaks) -> str:
    return (
        f"peaks of a chip: {peaks.flops / 1e12:.0f} TFLOP/s (bfloat16), {peaks.bandwidth / 1e9:.0f} GB/s and "
        f"{peaks.memory / 1e9:.0f} GB of HBM, {peaks.sending / 1e9:.0f} GB/s sent over all links ({peaks.source})"
    )


def _collectives(name: str, cost: Cost) -> list[str]:
    if not cost.collectives:
        return [f"{name}: no collectives"]
    rows = [[f"collectives, {name}", "runs", "MB", "MB sent by a chip"]]
    for kind, c in sorted(cost.collectives.items()):
        rows.append([kind, str(c.count), f"{c.bytes / 1e6:.2f}", f"{c.sent / 1e6:.2f}"])
    return [aligned(rows)]


def _notes(cost: Cost) -> list[str]:
    if not cost.uncounted_loops:
        return []
    return [f"{cost.uncounted_loops} loops run an unknown number of times, and are counted once."]


def _traffic(name: str, cost: Cost, top: int) -> list[str]:
    total = sum(t.bytes for t in cost.traffic)
    rows = [[f"bytes read and written, {name}", "MB an image", "in HBM", "%", "operations"]]
    for t in [*cost.traffic[:top], _sum(cost.traffic)]:
        mb, main = t.bytes / cost.images / 1e6, t.main / cost.images / 1e6
        rows.append([t.layer, f"{mb:.2f}", f"{main:.2f}", f"{100 * t.bytes / total:.1f}", str(t.instructions)])
    return [aligned(rows)]


def _sum(traffic: Sequence[Traffic]) -> Traffic:
    return Traffic(
        "all", sum(t.bytes for t in traffic), sum(t.main for t in traffic), sum(t.instructions for t in traffic)
    )


def _buffers(name: str, cost: Cost, top: int) -> list[str]:
    rows = [[f"largest arrays, {name}", "shape", "MiB each", "made"]]
    rows += [[b.layer, b.shape, f"{b.size / MIB:.1f}", str(b.count)] for b in cost.buffers[:top]]
    return [aligned(rows, left=2)]


COMPILED = (
    ("GFLOP/image", "gflop_per_image", "{:.2f}"),
    ("GB/image", "gb_per_image", "{:.3f}"),
    ("HBM GiB", "hbm_gib_per_chip", "{:.2f}"),
    ("roofline ms", "roofline_step_ms", "{:.2f}"),
    ("images/s/chip", "images_per_second_per_chip", "{:.0f}"),
    ("collective MB", "collective_mb", "{:.2f}"),
    ("sent MB", "sent_mb", "{:.2f}"),
    ("links ms", "interconnect_ms", "{:.2f}"),
    ("inference/s/chip", "inference.images_per_second_per_chip", "{:.0f}"),
    ("compile s", "compile_seconds", "{:.0f}"),
)


RUN = (
    ("GFLOP/image", "gflop_per_image", "{:.2f}"),
    ("GB/image", "gb_per_image", "{:.3f}"),
    ("step ms", "step_ms.median", "{:.1f}"),
    ("images/s", "images_per_second", "{:.1f}"),
    ("of matrix peak", "share_of_matrix_peak", "{:.0%}"),
    ("inference/s", "inference.images_per_second", "{:.1f}"),
    ("compile s", "compile_seconds", "{:.0f}"),
)


def run_report(title: str, figures: dict[str, Any]) -> str:
    """Returns the table of what was measured on the devices of this machine."""
    step, batch, start = figures["step_ms"], figures["inference"]["batch_ms"], figures["time_to_first_step"]
    rows = [
        ["devices", f"{figures['devices']} x {figures['device']}, {figures['images_per_chip']:g} images each"],
        ["training step", f"{step['median']:.1f} ms (from {step['least']:.1f} to {step['most']:.1f})"],
        ["training", f"{figures['images_per_second']:.1f} images a second"],
        ["  operations", f"{figures['gflop_per_image']:.2f} GFLOP an image, as XLA counts them"],
        ["  of the matrix peak", f"{figures['share_of_matrix_peak']:.0%} of {_gflops(figures['matrix_peak_gflops'])}"],
        ["inference batch", f"{batch['median']:.1f} ms (from {batch['least']:.1f} to {batch['most']:.1f})"],
        ["inference", f"{figures['inference']['images_per_second']:.1f} images a second"],
    ]
    if start:
        rows.append(["time to first step", f"{start['cold']:.1f} s, then {start['warm']:.1f} s with its programs kept"])
    return "\n".join([title, "", aligned(rows, left=2)])


def _gflops(value: float) -> str:
    return f"{value / 1e3:.1f} TFLOP/s" if value >= 1e4 else f"{value:.0f} GFLOP/s"


def table(rows: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str, str]]) -> str:
    """Returns a table of one line a setting, without the columns that no row has a figure for.

    A row holds "setting", and the figures or an "error"; columns are (label, dotted name, format).
    """
    columns = [column for column in columns if any(figure(row, column[1]) is not None for row in rows)]
    lines = [[*rows[0]["setting"], *(label for label, _, _ in columns)]]
    notes = []
    for row in rows:
        cells = [str(value) for value in row["setting"].values()]
        lines.append([*cells, *(_cell(row, key, style) for _, key, style in columns)])
        if "error" in row:
            notes.append(f"{' '.join(cells)}: {row['error']}")
    return "\n".join([aligned(lines, left=len(rows[0]["setting"])), *notes])
