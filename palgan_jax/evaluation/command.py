"""`palgan evaluate --truth PHOTOGRAPHS --output DIR ...` and `palgan evaluate compare A B [C ...]`."""

import argparse
import shlex
import sys
from typing import Any

from palgan_jax.errors import ExitCode, UserError
from palgan_jax.util.files import expand_home, user_path

DESCRIPTION = """Measures a checkpoint (the bundled one by default), the pictures of any other system, or a baseline.
Writes results.json, pictures.csv, row.md and report.html. The same command goes on where an interrupted one was."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan evaluate`."""
    from palgan_jax.evaluation.protocols import PROTOCOLS

    parser.usage = (
        f"{parser.prog} --truth SPEC --output DIR [options]\n"
        f"       {parser.prog} compare A B [C ...] [--json FILE] [--page FILE]"
    )
    parser.description = DESCRIPTION
    parser.add_argument("--truth", metavar="SPEC", help="the photographs: a folder, list:FILE or tfds:NAME[@SPLIT]")
    parser.add_argument("--output", metavar="DIR", type=user_path, help="folder for the results; made if missing")
    parser.add_argument(
        "--protocol",
        default="folder",
        metavar="NAME",
        help=f"which pictures, and how they are resized: {', '.join(PROTOCOLS)} (default: folder, all there are)",
    )
    system = parser.add_mutually_exclusive_group()
    system.add_argument(
        "--checkpoint",
        metavar="PATH",
        type=expand_home,
        help="a training run's folder, a .safetensors file or hf:OWNER/NAME",
    )
    system.add_argument("--predictions", metavar="DIR", type=user_path, help="the pictures that another system made")
    system.add_argument(
        "--baseline",
        choices=("gray", "mean", "nearest"),
        help="gray; one mean color; or the truth's own colors, given out by luminance",
    )
    parser.add_argument(
        "--palette",
        choices=("automatic", "truth", "random", "mean"),
        default="automatic",
        help="of a checkpoint: predicted (default), the photograph's own, that of another photograph, or one for all",
    )
    parser.add_argument(
        "--train", metavar="SPEC", help="the set whose mean --baseline mean or --palette mean is (default: truth)"
    )
    parser.add_argument("--label", metavar="TEXT", default="", help="what the system is called in tables")
    parser.add_argument(
        "--metrics",
        metavar="LIST",
        default="default",
        help="names with commas between them; `default` stands for all that paint a photograph only once",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where tfds sets are (default: as palgan prepare)")
    parser.add_argument(
        "--batch-size", metavar="N", type=int, help="photographs at a time (default: 8 a core of a CPU, 16 a device)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the choice of other photographs")
    parser.add_argument(
        "--distributed",
        choices=("auto", "on", "off"),
        default="auto",
        help="join the other processes of a cluster (auto: where the environment tells of one)",
    )
    actions = parser.add_subparsers(dest="action", metavar="compare", prog=parser.prog)
    compare = actions.add_parser("compare", help="two or more folders of results, picture by picture")
    compare.add_argument("results", nargs="+", metavar="RESULTS", type=user_path, help="what --output was")
    compare.add_argument("--json", metavar="FILE", type=user_path, help="write the comparison there as well")
    compare.add_argument("--page", metavar="FILE", type=user_path, help="write a page with the pictures side by side")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns FINISHED, or STOPPED when SIGTERM or Ctrl-C stopped it and the same command goes on."""
    if args.action == "compare":
        return _compare(args)
    check_arguments(args)
    from palgan_jax.util.compilation import keep_compiled_programs

    keep_compiled_programs()
    from palgan_jax.distributed.join import joined
    from palgan_jax.distributed.mesh import make_cores_devices
    from palgan_jax.util.memory import memory_may_run_out
    from palgan_jax.util.signals import ending_at_ctrl_c

    enough = memory_may_run_out("a batch of photographs", "lower --batch-size")
    with ending_at_ctrl_c(), joined(args.distributed), enough:
        make_cores_devices(args.batch_size)
        return _evaluate(args)


def check_arguments(args: argparse.Namespace) -> None:
    """Raises UserError for arguments of `palgan evaluate` (not of `compare`) that are missing or do not fit."""
    for name in ("truth", "output"):
        if not getattr(args, name):
            raise UserError(f"palgan evaluate needs --{name}: `palgan evaluate --help` says what it is.")
    if args.palette != "automatic" and (args.predictions or args.baseline):
        raise UserError("--palette is for checkpoints: leave it out.")
    if args.train and "mean" not in (args.baseline, args.palette):
        raise UserError("--train is for --baseline mean and --palette mean: leave it out.")


def _evaluate(args: argparse.Namespace) -> int:
    # Only here, since they import JAX: asking for help should not wait for that.
    import jax

    from palgan_jax.evaluation.evaluate import evaluate
    from palgan_jax.evaluation.protocols import find_protocol
    from palgan_jax.evaluation.record import summarize
    from palgan_jax.evaluation.results import ROW
    from palgan_jax.evaluation.table import as_text
    from palgan_jax.evaluation.truth import open_truth

    metrics = parse_metrics(args.metrics)
    protocol = find_protocol(args.protocol)
    truth = open_truth(args.truth, args.data_dir)
    system = _system(args, truth, protocol)
    outcome = evaluate(
        system,
        truth,
        protocol,
        args.output,
        metrics=metrics,
        batch_size=args.batch_size,
        seed=args.seed,
        facts={"command": shlex.join(["palgan", *sys.argv[1:]]), "truth": args.truth},
    )
    if outcome.stopped:
        return ExitCode.STOPPED
    if jax.process_index() == 0:
        assert outcome.evaluation is not None
        print(as_text(outcome.evaluation, summarize(outcome.evaluation)))
        print(f"\n{args.output} holds the report, a row for tables ({ROW}), and the numbers of each picture.")
    return ExitCode.FINISHED


def parse_metrics(text: str) -> tuple[str, ...]:
    """Returns the metrics that `--metrics` names, in the order of the catalogue. Raises UserError for unknown ones."""
    from palgan_jax.metrics.catalogue import DEFAULT, EVALUATION

    names: set[str] = set()
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name not in (*EVALUATION, "default"):
            raise UserError(f"{name} is no metric: name some of default, {', '.join(EVALUATION)}.")
        names |= set(DEFAULT) if name == "default" else {name}
    if not names:
        raise UserError("--metrics names none: leave it out for those that the tables have.")
    return tuple(name for name in EVALUATION if name in names)


def _system(args: argparse.Namespace, truth: Any, protocol: Any) -> Any:
    from palgan_jax.evaluation import systems

    if args.predictions:
        return systems.Predictions(args.predictions, args.label)
    if args.baseline == "gray":
        return systems.gray(args.label)
    if args.baseline == "nearest":
        return systems.NearestPalette(args.label) if args.label else systems.NearestPalette()
    if args.baseline == "mean":
        return systems.mean_color(_averaged(args, truth, protocol), args.label)
    averaged = _averaged(args, truth, protocol) if args.palette == "mean" else None
    return systems.Checkpoint.load(args.checkpoint, args.palette, args.label, averaged)


def _averaged(args: argparse.Namespace, truth: Any, protocol: Any) -> Any:
    """Returns the photographs of which a baseline takes the mean."""
    from palgan_jax.evaluation.names import select_photographs
    from palgan_jax.evaluation.systems import SetToAverage
    from palgan_jax.evaluation.truth import open_truth

    if args.train:
        pictures = open_truth(args.train, args.data_dir)
        return SetToAverage(pictures, range(len(pictures)), args.train)
    return SetToAverage(truth, select_photographs(truth, protocol).rows, "the truth")


def _compare(args: argparse.Namespace) -> int:
    from palgan_jax.evaluation import compare, ranking

    if len(args.results) < 2:
        raise UserError("palgan evaluate compare needs two folders of results or more: name another one.")
    if len(args.results) == 2:
        first, second = args.results
        print(compare.as_text(compare.compare_folders(first, second, args.json)))
    else:
        print(ranking.as_text(ranking.rank_folders(args.results, args.json)))
    if args.page:
        from palgan_jax.evaluation.comparison_page import write_comparison_page

        write_comparison_page(args.results, args.page)
        print(f"\n{args.page} shows the pictures.")
    return ExitCode.FINISHED
