"""`palgan finetune FOLDER --output RUN [--from MODEL]`."""

import argparse

from palgan_jax.util.files import expand_home, user_path

DESCRIPTION = """Trains a model further on a folder of color photographs, keeps some of them aside, and says on these
whether it helped. The same command goes on where an interrupted one was."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan finetune`; `--config.field=value` is taken beside them."""
    parser.description = DESCRIPTION
    parser.add_argument("folder", metavar="FOLDER", type=user_path, help="20 photographs or more, with subfolders")
    parser.add_argument(
        "--output", required=True, metavar="RUN", type=user_path, help="folder of the run: the model, before and after"
    )
    parser.add_argument(
        "--from",
        dest="start",
        default="bundled",
        metavar="MODEL",
        type=expand_home,
        help="the model: a working directory, a checkpoint, a .safetensors file or hf:OWNER/NAME (default: bundled)",
    )
    parser.epilog = "What was chosen can be changed by fields of the config: --config.total='500 steps'"
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trains and judges; returns FINISHED, or STOPPED when stopped early and saved."""
    from palgan_jax.util.compilation import keep_compiled_programs

    keep_compiled_programs()
    from palgan_jax.errors import ExitCode
    from palgan_jax.finetune.run import SHEET, finetune
    from palgan_jax.training.workdir import opened
    from palgan_jax.util.signals import ending_at_ctrl_c
    from palgan_jax.util.terminal import recorded

    with ending_at_ctrl_c(), opened(args.output) as workdir, recorded(workdir.folder):
        sentences = finetune(args.folder, args.output, args.start, args.overrides)
    if sentences is None:
        return ExitCode.STOPPED
    print("\n".join(sentences))
    print(f"{args.output / SHEET} shows both; palgan colorize ... --checkpoint {args.output} uses the result.")
    return ExitCode.FINISHED
