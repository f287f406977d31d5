"""`palgan data inspect SOURCE`."""

import argparse
import os

from palgan_jax.errors import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan data`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    inspect = actions.add_parser("inspect", help="count, measure and draw the pictures of a set")
    inspect.add_argument("source", help="folder:PATH, list:FILE, tfds:NAME[/CONFIG][:VERSION][@SPLIT] or a mixture")
    inspect.add_argument("--data-dir", metavar="DIR", help="where tfds sets are (default: as palgan prepare)")
    inspect.add_argument("--output", metavar="DIR", default=".", help="where NAME-sheet.jpg goes (default: here)")
    inspect.set_defaults(run=run_inspect)


def run_inspect(args: argparse.Namespace) -> int:
    """Inspects a set of pictures and prints the results; returns 0."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # no accelerator is needed, and none is taken from others
    from palgan_jax.data.inspect import inspect

    print(*map(printable, inspect(args.source, args.output, tfds_dir=args.data_dir).lines), sep="\n")
    return 0
