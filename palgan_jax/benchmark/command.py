"""`palgan benchmark`: the speed of a config's programs, on this machine or compiled for any TPU slice."""

import argparse
import json
import logging
from typing import Any

from palgan_jax.benchmark.sweep import overrides as setting_overrides
from palgan_jax.benchmark.sweep import settings
from palgan_jax.benchmark.topology import EXAMPLES, prepare_environment
from palgan_jax.errors import UserError
from palgan_jax.util.files import user_path

log = logging.getLogger(__name__)

DESCRIPTION = """Measures the training step and inference of a config: on the devices of this machine, or, with
--topology, compiled for a TPU slice, without any TPU. A compiled program tells its operations, memory and
collectives, and with them the time of its roofline."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan benchmark`; `--config.field=value` is taken beside them."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "--config",
        default="configs/imagenet256.py",
        metavar="FILE.py[:VARIANT]",
        help="config file (default: configs/imagenet256.py)",
    )
    parser.add_argument("--topology", metavar="NAME", help=f"a TPU slice to compile for: {EXAMPLES}, ...")
    parser.add_argument(
        "--batch", type=int, metavar="N", help="images a chip (default: 32; without --topology, what the config says)"
    )
    parser.add_argument(
        "--sweep",
        nargs="+",
        default=[],
        metavar="AXIS=A,B",
        help="all combinations, a row each: batch, topology, width, perceptual, precision or any field of the config",
    )
    parser.add_argument(
        "--only", choices=("train", "inference"), help="of a topology: compile one of the two functions"
    )
    parser.add_argument("--top", type=int, default=15, metavar="N", help="lines of layers and of arrays (default: 15)")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="steps that are timed (default: 10)")
    parser.add_argument("--trace", type=user_path, metavar="DIR", help="write a profile of the timed steps, for xprof")
    parser.add_argument("--json", type=user_path, metavar="FILE", help="write the figures there as well")
    parser.epilog = "Any field of the config can be set: --config.net.width=0.5"
    parser.set_defaults(run=run)


def compiles_only(args: argparse.Namespace) -> bool:
    """Returns True where programs are compiled for a topology, and nothing is run."""
    return bool(args.topology) or any(axis.startswith("topology=") for axis in args.sweep)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit code. To be called before JAX looks for devices."""
    rows = settings(args.sweep)
    for name, value in (("batch", args.batch), ("steps", args.steps), ("top", args.top)):
        if value is not None and value < 1:
            raise UserError(f"--{name}={value} does not fit: it must be at least 1.")
    if compiles_only(args):
        if args.trace:
            raise UserError("--trace is of steps that are run: leave out --topology.")
        prepare_environment()
    elif args.only:
        raise UserError("--only is of what is compiled for a topology: name one with --topology.")
    from palgan_jax.benchmark.report import COMPILED, RUN, sweep_table
    from palgan_jax.util.files import write_file

    results: list[dict[str, Any]] = []
    for row in rows:
        results.append(_measure(args, args.overrides, row))
        if args.json:  # after each, since compiling takes minutes and a sweep may be broken off
            content: Any = {"rows": results} if args.sweep else results[0]
            write_file(args.json, (json.dumps(content, indent=2) + "\n").encode())
    if args.sweep:
        print(sweep_table(results, COMPILED if compiles_only(args) else RUN))
    return 0


def _measure(args: argparse.Namespace, overrides: list[str], setting: dict[str, str]) -> dict[str, Any]:
    """Returns the figures of one setting; in a sweep, its error instead of raising it."""
    try:
        measure = _compiled if compiles_only(args) else _timed
        return {"setting": setting, "config": args.config, "overrides": overrides, **measure(args, overrides, setting)}
    except UserError as error:
        if not args.sweep:
            raise
        log.info("%s", error)
        return {"setting": setting, "error": str(error)}


def _compiled(args: argparse.Namespace, overrides: list[str], setting: dict[str, str]) -> dict[str, Any]:
    from palgan_jax.benchmark.compiled import FUNCTIONS, compile_for
    from palgan_jax.benchmark.report import cost_report
    from palgan_jax.benchmark.topology import describe_slice
    from palgan_jax.config import load_config

    chips = describe_slice(setting.get("topology") or args.topology)
    images = _batch(args, setting) or 32
    batch = f"batch_size={images * chips.chips}"
    config = load_config(args.config, [*overrides, *setting_overrides(setting), batch])
    _compile_anew()
    costs = compile_for(config, chips, (args.only,) if args.only else FUNCTIONS)
    title = (
        f"{args.config}: {config.resolution} x {config.resolution}, {config.precision}, {images} images a chip, "
        f"{chips.name} ({chips.chips} chips)"
    )
    if not args.sweep:
        print(cost_report(title, costs, chips.peaks, args.top))
    figures = {name: cost.figures(chips.peaks) for name, cost in costs.items()}
    step = figures.pop("train", {})
    return {"topology": chips.name, "chips": chips.chips, "images_per_chip": images, **step, **figures}


def _timed(args: argparse.Namespace, overrides: list[str], setting: dict[str, str]) -> dict[str, Any]:
    from palgan_jax.benchmark.first_step import time_to_first_step
    from palgan_jax.config import load_config

    fields = [*overrides, *setting_overrides(setting)]
    load_config(args.config, fields)  # so that its errors come before anything is started
    start: dict[str, float] | None = None
    if not args.sweep:
        # A TPU belongs to one process at a time: this one must not open it yet.
        try:
            start = time_to_first_step(args.config, fields)
        except UserError as error:
            log.warning("%s", error)

    import jax

    from palgan_jax.benchmark.report import run_report
    from palgan_jax.benchmark.timed import run_and_time
    from palgan_jax.util.memory import memory_may_run_out

    if images := _batch(args, setting):
        fields.append(f"batch_size={images * jax.device_count()}")
    config = load_config(args.config, fields)
    _compile_anew()
    with memory_may_run_out("the training step", "lower --batch, --config.resolution or --config.net.width"):
        figures = {"time_to_first_step": start, **run_and_time(config, args.steps, args.trace)}
    if not args.sweep:
        title = f"{args.config}: {config.resolution} x {config.resolution}, {config.precision}"
        print(run_report(title, figures))
        if args.trace:
            print(f"the profile is in {args.trace}: `xprof --logdir {args.trace}` shows it")
    return figures


def _compile_anew() -> None:
    """Turns the compilation cache off: compile time is a figure, and programs of other devices cannot be read back."""
    import jax

    jax.config.update("jax_enable_compilation_cache", False)


def _batch(args: argparse.Namespace, setting: dict[str, str]) -> int | None:
    """Returns the images a chip of a setting or the command line; None where neither has them."""
    text = setting.get("batch")
    if text is None:
        return args.batch
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"--sweep batch={text} does not fit: images a chip are whole numbers from 1.")
    return int(text)
