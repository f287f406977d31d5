"""One system's row beside the published rows of the same protocol."""

from collections.abc import Mapping
from dataclasses import dataclass

from palgan_jax.errors import printable
from palgan_jax.evaluation.record import Evaluation, Summary, headline
from palgan_jax.metrics.catalogue import find_metric, in_order
from palgan_jax.util.text import aligned

PAPER = "Wang et al., ECCV 2022 (PalGAN), tables"
LATER = "a later comparison of several systems, second-hand"
HERE = "measured by palgan evaluate"

TABLE_COLUMNS = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "fid": "FID",
    "colorfulness": "CF",
    "delta_cf": "delta CF",
}
"""The columns of the table, by metric. LPIPS is of any network: the published rows do not name theirs."""
_LPIPS = {"lpips_alexnet": "AlexNet", "lpips_vgg16": "VGG16"}
NOTHING = "-"


@dataclass(frozen=True)
class Line:
    """A row of the table: the cells of TABLE_COLUMNS in their order, and their source."""

    system: str
    cells: tuple[str, ...]
    source: str
    is_ours: bool = False


def _paper(system: str, psnr: str, ssim: str, lpips: str, fid: str) -> Line:
    return Line(system, (psnr, ssim, lpips, fid, NOTHING, NOTHING), PAPER)


def _later(system: str, fid: str, cf: str, delta_cf: str, psnr: str) -> Line:
    return Line(system, (psnr, NOTHING, NOTHING, fid, cf, delta_cf), LATER)


PUBLISHED: dict[str, tuple[Line, ...]] = {
    "imagenet-ctest10k": (
        _paper("CIColor", "22.30", "0.902", "0.221", "12.20"),
        _paper("UGColor", "24.26", "0.918", "0.174", "7.49"),
        _paper("DeOldify", "23.54", "0.914", "0.187", "5.78"),
        _paper("ColTran", "21.81", "0.892", "0.218", "6.37"),
        _paper("InstColor", "23.03", "0.909", "0.191", "7.35"),
        _paper("GPColor", "21.66", "0.871", "0.230", "5.46"),
        _paper("PalGAN", "24.19", "0.917", "0.161", "4.60"),
        _paper("PalGAN 2, more weight on fidelity", "24.66", "0.920", "0.170", "5.24"),
        _paper("PalGAN *, the truth's palette", "27.75", "0.932", "0.110", "4.20"),
    ),
    "imagenet-val50k": (
        _paper("CIColor", "22.26", "0.902", "0.221", "9.39"),
        _paper("UGColor", "24.26", "0.919", "0.173", "4.60"),
        _paper("DeOldify", "22.97", "0.911", "0.185", "3.87"),
        _paper("ColTran", "22.12", "0.894", "0.216", "3.81"),
        _paper("InstColor", "23.06", "0.910", "0.190", "4.94"),
        _paper("GPColor", "21.81", "0.880", "0.230", "3.62"),
        _later("ColTran", "6.14", "35.50", "3.59", "22.30"),
        _later("CT2", "4.95", "39.96", "0.87", "22.93"),
        _later("GCP", "3.62", "35.13", "3.96", "21.81"),
        _later("ColorFormer", "1.71", "39.76", "0.67", "23.00"),
        _later("BigColor", "1.24", "40.01", "0.92", "21.24"),
        _later("DDColor-T", "1.23", "37.72", "1.37", "23.63"),
        _later("DDColor-L", "0.96", "38.65", "0.44", "23.74"),
        _later("MultiColor", "0.42", "38.89", "0.20", "24.58"),
        _paper("PalGAN", "24.25", "0.917", "0.161", "2.78"),
        _paper("PalGAN 2, more weight on fidelity", "24.54", "0.920", "0.168", "3.62"),
        _paper("PalGAN *, the truth's palette", "27.53", "0.913", "0.118", "2.42"),
    ),
    "coco-val2017": (
        _paper("CIColor", "21.84", "0.895", "0.234", "22.32"),
        _paper("UGColor", "24.34", "0.924", "0.165", "14.74"),
        _paper("DeOldify", "23.98", "0.939", "0.161", "12.75"),
        _paper("ColTran", "22.11", "0.898", "0.210", "11.65"),
        _paper("InstColor", "22.35", "0.838", "0.238", "12.24"),
        _paper("PalGAN", "24.56", "0.924", "0.148", "7.70"),
        _paper("PalGAN 2, more weight on fidelity", "24.72", "0.944", "0.156", "8.93"),
        _paper("PalGAN *, the truth's palette", "28.28", "0.936", "0.105", "7.21"),
        _paper("PalGAN, a random picture's palette", "20.88", "0.883", "0.240", "9.64"),
    ),
}
"""By protocol, the scores of other systems as these sources print them; none was measured again here."""


def lines(evaluation: Evaluation, summary: Summary) -> list[Line]:
    """Returns the published rows of the protocol, where exactly its pictures were measured, and then our own."""
    published = PUBLISHED.get(evaluation.protocol, ()) if evaluation.protocol_exact else ()
    cells = tuple(_cell(name, summary) for name in TABLE_COLUMNS)
    return [*published, Line(describe_system(evaluation), cells, HERE, is_ours=True)]


def _cell(name: str, summary: Summary) -> str:
    if name == "lpips":
        values = [f"{format_value(key, summary[key])} ({net})" for key, net in _LPIPS.items() if key in summary]
        return ", ".join(values) or NOTHING
    return format_value(name, summary[name]) if name in summary else NOTHING


def label_with_direction(name: str) -> str:
    """Returns a metric's label with an arrow in the direction that is better, where one is."""
    arrow = {"higher": "↑", "lower": "↓", "neither": ""}[find_metric(name).direction]
    return f"{find_metric(name).label} {arrow}".strip()


def format_value(name: str, entry: dict[str, float]) -> str:
    """Returns the number of a summary's entry with as many decimals as its metric has."""
    return f"{headline(entry):.{find_metric(name).decimals}f}"


def describe_system(evaluation: Evaluation) -> str:
    """Returns the label, with the palette's origin where a checkpoint did not predict it."""
    origins = {
        "truth": ", the truth's palette",
        "random": ", a random picture's palette",
        "mean": ", one palette for all",
    }
    return evaluation.system + origins.get(evaluation.palette, "") * ("checkpoint" in evaluation.weights)


def describe_protocol(evaluation: Evaluation) -> str:
    """Returns the protocol's name, or, where other pictures than its own were measured, that these have none."""
    if evaluation.protocol_exact:
        return evaluation.protocol
    if evaluation.protocol == "folder":
        return "folder, without what cannot be read in it"
    return f"no protocol (the {evaluation.count:,} pictures measured are not those of {evaluation.protocol})"


def make_remarks(evaluation: Evaluation) -> list[str]:
    """Returns the remarks that belong to every number of an evaluation, a line each."""
    remarks = [
        f"Protocol: {describe_protocol(evaluation)}",
        f"Pictures: {evaluation.count:,}, SHA-256 of their list {evaluation.list_sha256}",
        f"Resize: {evaluation.resize}",
        f"Palette: {evaluation.palette}",
    ]
    if not evaluation.protocol_exact:
        remarks.append("These numbers cannot be set beside published ones: they are of other pictures.")
        for name in ("difference from the list", "unreadable"):
            if name in evaluation.facts:
                remarks.append(f"{name.capitalize()}: {format_fact(evaluation.facts[name])}")
    elif evaluation.protocol not in PUBLISHED:
        remarks.append(f"No published rows of {evaluation.protocol} are known here.")
    else:
        remarks.append("The published rows do not name the network of their LPIPS.")
    remarks += [f"Weights of {name}: SHA-256 {sha256}" for name, sha256 in sorted(evaluation.weights.items())]
    if version := evaluation.facts.get("version"):
        remarks.append(f"Measured by palgan_jax {version}")
    for reason in dict.fromkeys(evaluation.absent.values()):
        left_out = [name for name in in_order(evaluation.absent) if evaluation.absent[name] == reason]
        remarks.append(f"Left out: {', '.join(find_metric(name).label for name in left_out)}: {reason}")
    return remarks


def format_fact(value: object) -> str:
    """Returns a fact on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {format_fact(part)}" for key, part in value.items())
    return ", ".join(format_fact(part) for part in value) if isinstance(value, list | tuple) else str(value)


def markdown(evaluation: Evaluation, summary: Summary) -> str:
    """Returns the text of row.md: the table, the 95 % intervals of our means, and the remarks."""
    rows = lines(evaluation, summary)
    text = [f"# {_plain(describe_system(evaluation))}", ""]
    text.append(f"| system | {' | '.join(TABLE_COLUMNS.values())} | source |")
    text.append("|---|" + "---:|" * len(TABLE_COLUMNS) + "---|")
    for row in rows:
        system = f"**{_plain(row.system)}**" if row.is_ours else row.system
        text.append(f"| {system} | {' | '.join(row.cells)} | {row.source} |")
    text += ["", "| metric | value | 95 % interval of the mean |", "|---|---:|---:|"]
    for name, entry in summary.items():
        cells = (_plain(find_metric(name).label), format_value(name, entry), format_interval(name, entry))
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join([*text, "", *(f"- {_plain(line)}" for line in make_remarks(evaluation)), ""])


def as_text(evaluation: Evaluation, summary: Summary) -> str:
    """Returns what a terminal shows: our numbers, the published rows beside our own, and what was left out and why."""
    numbers = [["", "value", "95 % interval", ""]]
    for name, entry in summary.items():
        row = find_metric(name)
        direction = "" if row.direction == "neither" else f"{row.direction} is better"
        numbers.append([row.label, format_value(name, entry), format_interval(name, entry), direction])
    title = f"{describe_system(evaluation)}: {evaluation.count:,} pictures of {describe_protocol(evaluation)}"
    text = [title, "", aligned(numbers)]
    rows = lines(evaluation, summary)
    if len(rows) > 1:
        table = [["", *TABLE_COLUMNS.values()], *([row.system, *row.cells] for row in rows)]
        text += ["", "Beside published rows, which were not measured again:", "", aligned(table)]
    reasons = dict.fromkeys(evaluation.absent.values())
    if reasons:
        text.append("")
    for reason in reasons:
        labels = [find_metric(name).label for name in in_order(evaluation.absent) if evaluation.absent[name] == reason]
        text.append(f"Without {', '.join(labels)}: {reason}")
    return "\n".join(map(printable, "\n".join(text).split("\n")))


def format_interval(name: str, entry: dict[str, float]) -> str:
    """Returns "low to high", or a dash for a number of the whole set."""
    decimals = find_metric(name).decimals
    return f"{entry['low']:.{decimals}f} to {entry['high']:.{decimals}f}" if "low" in entry else NOTHING


def _plain(text: str) -> str:
    """Escapes a text so that Markdown shows it as it is and it cannot leave its cell."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return "".join("\\" + letter if letter in r"\`*_[]<>|#" else letter for letter in text)
