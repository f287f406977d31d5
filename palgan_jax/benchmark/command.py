"""`palgan benchmark`: how fast the programs of a config are, on what is here or for a pod that is not."""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from palgan_jax.benchmark.sweep import overrides as setting_overrides
from palgan_jax.benchmark.sweep import settings
from palgan_jax.benchmark.topology import EXAMPLES, prepare_environment
from palgan_jax.errors import UserError

log = logging.getLogger(__name__)

DESCRIPTION = """Measures the training step and inference of a config. With --topology both are compiled for a TPU slice
that need not be there, and the compiled programs say what they cost: operations, memory, collectives, and the time
that no run can beat."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `palgan benchmark`, for its parser; `--config.field=value` is taken beside them."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "--config",
        default="configs/imagenet256.py",
        metavar="FILE.py[:VARIANT]",
        help="config file (default: configs/imagenet256.py)",
    )
    parser.add_argument("--topology", metavar="NAME", help=f"a TPU slice to compile for: {EXAMPLES}, ...")
    parser.add_argument("--batch", type=int, metavar="N", help="images a chip (default: 32)")
    parser.add_argument(
        "--sweep",
        nargs="+",
        default=[],
        metavar="AXIS=A,B",
        help="all combinations, a row each: batch, topology, width, perceptual, precision or any field of the config",
    )
    parser.add_argument("--top", type=int, default=15, metavar="N", help="lines of layers and of arrays (default: 15)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.epilog = "Any field of the config can be set: --config.net.width=0.5"


def run(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Runs the command; returns its exit code. To be called before JAX is imported."""
    rows = settings(args.sweep)
    if args.batch is not None and args.batch < 1:
        raise UserError(f"--batch={args.batch} does not fit: it must be at least 1.")
    prepare_environment()
    from palgan_jax.benchmark.report import SWEPT, sweep_table

    found = [_measure(args, list(overrides), row) for row in rows]
    if args.sweep:
        print(sweep_table(found, SWEPT))
    if args.json:
        from palgan_jax.writing import write_file

        result: Any = {"rows": found} if args.sweep else found[0]
        write_file(args.json, (json.dumps(result, indent=2) + "\n").encode())
    return 0


def _measure(args: argparse.Namespace, overrides: list[str], setting: dict[str, str]) -> dict[str, Any]:
    """The figures of one setting; of a sweep, what cannot be is noted and does not end it."""
    try:
        return {"setting": setting, **_compiled(args, overrides, setting)}
    except UserError as error:
        if not args.sweep:
            raise
        log.info("%s", error)
        return {"setting": setting, "error": str(error)}


def _compiled(args: argparse.Namespace, overrides: list[str], setting: dict[str, str]) -> dict[str, Any]:
    from palgan_jax.benchmark.compiled import compile_for
    from palgan_jax.benchmark.report import cost_report
    from palgan_jax.benchmark.topology import describe_slice
    from palgan_jax.config import load_config

    chips = describe_slice(setting.get("topology") or args.topology)
    images = _batch(setting, args.batch or 32)
    batch = f"batch_size={images * chips.chips}"
    config = load_config(args.config, [*overrides, *setting_overrides(setting), batch])
    costs = compile_for(config, chips)
    title = (
        f"{args.config}: {config.resolution} x {config.resolution}, {config.precision}, {images} images a chip, "
        f"{chips.name} ({chips.chips} chips)"
    )
    if not args.sweep:
        print(cost_report(title, costs, chips.peaks, args.top))
    figures = {name: cost.figures(chips.peaks) for name, cost in costs.items()}
    collectives = costs["train"].collectives.values()
    return {
        "config": args.config,
        "overrides": overrides,
        "topology": chips.name,
        "chips": chips.chips,
        "images_per_chip": images,
        **figures["train"],
        "collective_mb": sum(c.bytes for c in collectives) / 1e6,
        "sent_mb": sum(c.sent for c in collectives) / 1e6,
        "inference": figures["inference"],
    }


def _batch(setting: dict[str, str], default: int) -> int:
    text = setting.get("batch", str(default))
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"--sweep batch={text} does not fit: images a chip are whole numbers from 1.")
    return int(text)
