"""`palgan info [CHECKPOINT]` and `palgan export CHECKPOINT FILE.safetensors`."""

import argparse

from palgan_jax.util.files import expand_home


def add_info_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan info`."""
    parser.add_argument(
        "checkpoint",
        nargs="?",
        type=expand_home,
        help="weights file, working directory or checkpoint; default: the bundled weights",
    )
    parser.set_defaults(run=run_info)


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan export`."""
    parser.add_argument("checkpoint", type=expand_home, help="working directory or checkpoint")
    parser.add_argument("output", type=expand_home, help="the file to write, ending in .safetensors")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="how to store parameters")
    parser.add_argument("--best", action="store_true", help="the best checkpoint, not the latest")
    parser.set_defaults(run=run_export)


def run_info(args: argparse.Namespace) -> int:
    """Prints the step, the size and the config of a checkpoint; returns 0."""
    from palgan_jax.checkpoint.find import describe

    print(describe(args.checkpoint))
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Writes the weights of a checkpoint into one file; returns 0."""
    from palgan_jax.checkpoint.find import find_weights
    from palgan_jax.checkpoint.weights_file import save_weights

    weights = find_weights(args.checkpoint, "best" if args.best else None)
    save_weights(args.output, weights, args.dtype)
    print(f"{args.output}: {weights.source}")
    return 0
