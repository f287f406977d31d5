"""`palgan info [CHECKPOINT]`."""

import argparse

from palgan_jax.util.files import expand_home


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan info`."""
    parser.add_argument(
        "checkpoint",
        nargs="?",
        type=expand_home,
        help="weights file, working directory, checkpoint or hf:OWNER/NAME; default: the bundled weights",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the step, the size and the config of a checkpoint; returns 0."""
    from palgan_jax.checkpoint.find import describe

    print(describe(args.checkpoint))
    return 0
