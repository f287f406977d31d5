"""`palgan runs show RUN [RUN ...]`."""

import argparse
from pathlib import Path

from palgan_jax.errors import ExitCode
from palgan_jax.util.files import expand_home, user_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan runs`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="write a page with the curves, configs and samples of one or several runs")
    show.add_argument("runs", nargs="+", metavar="RUN", type=expand_home, help="the working directory of a run")
    show.add_argument(
        "--output",
        metavar="FILE",
        type=user_path,
        help="the page (default: runs.html in the first run's folder, or here for a bucket)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from palgan_jax.runs.page import page
    from palgan_jax.runs.read import read_runs
    from palgan_jax.training.workdir import local_copies
    from palgan_jax.util.buckets import is_address
    from palgan_jax.util.files import make_folder, write_file

    with local_copies(args.runs) as folders:
        content = page(read_runs(folders))
    output = args.output or Path("" if is_address(args.runs[0]) else args.runs[0]) / "runs.html"
    make_folder(output.parent)
    write_file(output, content.encode())
    print(f"{output} shows {'the run' if len(args.runs) == 1 else f'{len(args.runs)} runs'}.")
    return ExitCode.FINISHED
