"""`palgan export CHECKPOINT FILE`: a trained model in one file, of the kind that the file's name announces."""

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from palgan_jax.errors import UserError
from palgan_jax.util.files import expand_home, user_path

if TYPE_CHECKING:
    from palgan_jax.checkpoint.weights import Weights

BUNDLED = "bundled"
KINDS = (".safetensors", ".onnx", ".stablehlo", ".pt")

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan export`."""
    parser.add_argument(
        "checkpoint",
        type=expand_home,
        help=f"working directory, checkpoint, weights file or hf:OWNER/NAME; {BUNDLED}: the package's own",
    )
    parser.add_argument("output", type=user_path, help=f"the file to write, ending in {' or '.join(KINDS)}")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="how to store parameters")
    step_options = parser.add_mutually_exclusive_group()
    step_options.add_argument("--best", action="store_true", help="the best checkpoint, not the latest")
    step_options.add_argument(
        "--average", metavar="STEPS", type=_steps, help="the mean of the weights of several steps: best,3250,4000"
    )
    parser.add_argument(
        "--painter", action="store_true", help=".onnx: the part that paints with a given palette, at any size"
    )
    parser.set_defaults(run=run)


def _steps(text: str) -> list[int | str]:
    try:
        steps = [word if word == "best" else int(word) for word in text.split(",")]
    except ValueError:
        steps = []
    if len(set(steps)) < 2 or len(set(steps)) < len(steps):
        raise argparse.ArgumentTypeError(f"{text!r} does not name two steps or more, each once, as in best,3250,4000")
    return steps


def run(args: argparse.Namespace) -> int:
    """Writes the file; returns 0. Raises UserError for other endings, before anything is read."""
    kind = args.output.suffix
    if kind not in KINDS:
        raise UserError(f"{args.output} does not say what to write: let it end in {' or '.join(KINDS)}.")
    if args.painter and kind != ".onnx":
        raise UserError(f"--painter is a part of an ONNX model: write it to a file that ends in .onnx, not {kind}.")
    if args.dtype != "float32" and kind == ".stablehlo":
        raise UserError("a program of StableHLO holds its weights as float32: leave --dtype out.")
    from palgan_jax.checkpoint.find import find_weights

    path = None if args.checkpoint == BUNDLED else args.checkpoint
    if args.average:
        from palgan_jax.checkpoint.averaging import average_weights

        weights = average_weights([find_weights(path, step) for step in args.average])
    else:
        weights = find_weights(path, "best" if args.best else None)
    _save(args.output, weights, args.dtype, args.painter)
    if args.average and kind == ".safetensors":
        _add_metrics(args.output, weights, args.dtype)
    print(f"{args.output}: {weights.source}")
    return 0


def _save(path: Path, weights: "Weights", dtype: str, painter: bool) -> None:
    # Each imports what the others do without.
    if path.suffix == ".onnx":
        from palgan_jax.export.onnx_model import save_onnx

        save_onnx(path, weights, dtype, painter)
    elif path.suffix == ".stablehlo":
        from palgan_jax.export.stablehlo import save_stablehlo

        save_stablehlo(path, weights)
    elif path.suffix == ".pt":
        from palgan_jax.export.pytorch_file import save_pytorch

        save_pytorch(path, weights, dtype)
    else:
        from palgan_jax.checkpoint.weights_file import save_weights

        save_weights(path, weights, dtype)


def _add_metrics(path: Path, weights: "Weights", dtype: str) -> None:
    """Measures the weights of a file as they are stored, and writes it again with the results where that is possible.

    The file is whole before: who does not want to wait for the measuring may end it.
    """
    from palgan_jax.checkpoint.weights_file import load_weights, save_weights
    from palgan_jax.training.measuring import measure_weights

    stored = load_weights(path)
    log.info("%s is written; its weights are now measured, as the run measured each step (Ctrl-C leaves it out)", path)
    try:
        metrics = measure_weights(replace(stored, config=weights.config))  # which knows where its pictures are
    except UserError as error:
        log.warning("%s holds no metrics, since the mean cannot be measured here: %s", path, error)
        return
    save_weights(path, replace(stored, metrics=metrics), dtype)
