"""`palgan benchmark`: the speed of a config's programs, on this machine or compiled for any TPU slice."""

import argparse
import json
import logging
import subprocess
import sys
from typing import Any

from palgan_jax.benchmark.sweep import overrides as setting_overrides
from palgan_jax.benchmark.sweep import settings
from palgan_jax.benchmark.topology import EXAMPLES, prepare_environment
from palgan_jax.errors import ExitCode, UserError
from palgan_jax.util.files import user_path

log = logging.getLogger(__name__)

SMALL = "demo"
"""The config that is measured where there is no accelerator."""

DESCRIPTION = """Measures the training step and inference of a config: on the devices of this machine, or, with
--topology, compiled for a TPU slice, without any TPU. A compiled program tells its operations, memory and
collectives, and with them the time of its roofline."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan benchmark`; `--config.field=value` is taken beside them."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "--config",
        action="append",
        metavar="NAME[:VARIANT]",
        help="config by name, or a Python file; may be given several times (default: imagenet256; demo where there is "
        "no accelerator)",
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
    parser.add_argument(
        "--compare",
        nargs="+",
        type=user_path,
        metavar="FILE",
        help="measure nothing, and compare what --json wrote",
    )
    parser.epilog = "Any field of the config can be set: --config.net.width=0.5"
    parser.set_defaults(run=run)


def compiles_only(args: argparse.Namespace) -> bool:
    """Returns True where programs are compiled for a topology, and nothing is run."""
    return bool(args.topology) or any(axis.startswith("topology=") for axis in args.sweep)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit code. To be called before JAX looks for devices."""
    if args.compare:
        from palgan_jax.benchmark.saved import compare

        print(compare(args.compare))
        return ExitCode.FINISHED
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
    from palgan_jax.benchmark.report import COMPILED, RUN, table
    from palgan_jax.util.files import write_file

    if not args.config:
        args.config = [_default_config(args)]
        if args.config == [SMALL]:
            log.info("there is no accelerator: the config %s is measured, and --config chooses another", SMALL)
    if len(args.config) > 1:
        rows = [{"config": config, **row} for config in args.config for row in rows]
    for row in rows:  # so that what is wrong with one is said before the others have taken their minutes
        _check(args, row)
    results: list[dict[str, Any]] = []
    for row in rows:
        results.append(_measure(args, row, alone=len(rows) == 1))
        if args.json:  # after each, since compiling takes minutes and a sweep may be broken off
            content: Any = {"rows": results} if len(rows) > 1 else results[0]
            write_file(args.json, (json.dumps(content, indent=2) + "\n").encode())
    if len(rows) > 1:
        print(table(results, COMPILED if compiles_only(args) else RUN))
    return ExitCode.BAD_INPUT if all("error" in row for row in results) else ExitCode.FINISHED


def _default_config(args: argparse.Namespace) -> str:
    """Returns the config that fits what is measured: the paper's run, or a small one where there is no accelerator."""
    return "imagenet256" if compiles_only(args) or _platform() != "cpu" else SMALL


def _platform() -> str:
    """Returns what JAX computes on here, asked in a process of its own: a TPU belongs to one at a time."""
    command = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _config_name(args: argparse.Namespace, setting: dict[str, str]) -> str:
    return setting.get("config") or args.config[0]


def _fields(args: argparse.Namespace, setting: dict[str, str]) -> list[str]:
    return [*args.overrides, *setting_overrides(setting)]


def _load(args: argparse.Namespace, setting: dict[str, str], *more: str) -> Any:
    """Reads the config of a setting, with the fields of the model that it starts from, if it does."""
    from palgan_jax.config import check_config, read_config
    from palgan_jax.training.start import follow

    fields = [*_fields(args, setting), *more]
    config = follow(read_config(_config_name(args, setting), fields), fields)
    check_config(config)
    return config


def _check(args: argparse.Namespace, setting: dict[str, str]) -> None:
    """Raises UserError for a setting that cannot be measured, as far as that can be told before."""
    _load(args, setting)
    _batch(args, setting)
    if compiles_only(args):
        from palgan_jax.benchmark.topology import describe_slice

        describe_slice(setting.get("topology") or args.topology)


def _measure(args: argparse.Namespace, setting: dict[str, str], alone: bool) -> dict[str, Any]:
    """Returns the figures of one setting; where it is one of several, its error instead of raising it."""
    row = {"setting": setting, "config": _config_name(args, setting), "overrides": args.overrides}
    try:
        return row | (_compiled if compiles_only(args) else _timed)(args, setting, alone)
    except UserError as error:
        if alone:
            raise
        log.info("%s", error)
        return row | {"error": str(error)}


def _compiled(args: argparse.Namespace, setting: dict[str, str], alone: bool) -> dict[str, Any]:
    from palgan_jax.benchmark.compiled import FUNCTIONS, compile_for
    from palgan_jax.benchmark.report import cost_report
    from palgan_jax.benchmark.topology import describe_slice

    chips = describe_slice(setting.get("topology") or args.topology)
    images = _batch(args, setting) or 32
    config = _load(args, setting, f"batch_size={images * chips.chips}")
    _compile_anew()
    costs = compile_for(config, chips, (args.only,) if args.only else FUNCTIONS)
    title = (
        f"{_config_name(args, setting)}: {config.resolution} x {config.resolution}, {config.precision}, "
        f"{images} images a chip, {chips.name} ({chips.chips} chips)"
    )
    if alone:
        print(cost_report(title, costs, chips.peaks, args.top))
    figures = {name: cost.figures(chips.peaks) for name, cost in costs.items()}
    step = figures.pop("train", {})
    return {"topology": chips.name, "chips": chips.chips, "images_per_chip": images, **step, **figures}


def _timed(args: argparse.Namespace, setting: dict[str, str], alone: bool) -> dict[str, Any]:
    from palgan_jax.benchmark.first_step import time_to_first_step

    name = _config_name(args, setting)
    start: dict[str, float] | None = None
    if alone:
        # A TPU belongs to one process at a time: this one must not open it yet.
        try:
            start = time_to_first_step(name, _fields(args, setting))
        except UserError as error:
            log.warning("%s", error)

    import jax

    from palgan_jax.benchmark.report import run_report
    from palgan_jax.benchmark.timed import run_and_time
    from palgan_jax.util.memory import memory_may_run_out

    images = _batch(args, setting)
    config = _load(args, setting, *([f"batch_size={images * jax.device_count()}"] if images else []))
    _compile_anew()
    with memory_may_run_out("the training step", "lower --batch, --config.resolution or --config.net.width"):
        figures = {"time_to_first_step": start, **run_and_time(config, args.steps, args.trace)}
    if alone:
        title = f"{name}: {config.resolution} x {config.resolution}, {config.precision}"
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
