"""`palgan train --config NAME --workdir DIR [--from MODEL] [--config.field=value ...]`."""

import argparse

from palgan_jax.util.files import expand_home


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan train`; `--config.field=value` is taken beside them."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="NAME[:VARIANT]",
        type=expand_home,
        help="config: the name of one that comes with the package, such as demo, or a Python file",
    )
    parser.add_argument(
        "--workdir",
        required=True,
        metavar="DIR",
        type=expand_home,
        help="where the run lives, a folder or gs://BUCKET/FOLDER; resumed if it exists",
    )
    parser.add_argument(
        "--from",
        dest="start",
        metavar="MODEL",
        type=expand_home,
        help="start from a trained model: bundled, a working directory, a checkpoint, a .safetensors file or "
        "hf:OWNER/NAME; the fields of its networks take the place of those of the config",
    )
    parser.add_argument(
        "--fit",
        action="store_true",
        help="take the largest batch that the devices have memory for; a resumed run keeps it",
    )
    parser.add_argument(
        "--distributed",
        choices=("auto", "on", "off"),
        default="auto",
        help="join the other processes of a cluster (auto: where the environment tells of one)",
    )
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="show what libraries write on a terminal, too, in the place of bars; DIR/log.txt has it always",
    )
    parser.epilog = "Any field of the config can be set: --config.net.width=0.5"
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trains; returns FINISHED, or STOPPED when stopped early and saved, by SIGTERM or Ctrl-C."""
    from palgan_jax.util.compilation import keep_compiled_programs

    keep_compiled_programs()
    from palgan_jax.config import check_config, read_config

    overrides = [*args.overrides, *([f"start={args.start}"] if args.start else [])]
    config = read_config(args.config, overrides)
    if not config.start:
        check_config(config)  # before other processes are waited for
    from palgan_jax.distributed.join import joined
    from palgan_jax.errors import ExitCode
    from palgan_jax.util.signals import ending_at_ctrl_c
    from palgan_jax.util.terminal import recorded

    with ending_at_ctrl_c(), joined(args.distributed) as process:
        from palgan_jax.training.loop import Outcome, train
        from palgan_jax.training.start import follow
        from palgan_jax.training.workdir import opened

        config = follow(config, overrides, args.workdir)
        with (
            opened(args.workdir, first=process == 0) as workdir,
            recorded(workdir.folder, process=process, verbose=args.verbose),
        ):
            outcome = train(config, workdir, fit=args.fit)
    return ExitCode.FINISHED if outcome is Outcome.FINISHED else ExitCode.STOPPED
