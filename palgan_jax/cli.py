"""The command line: a table of commands, each of which lives in the `command.py` of its room.

Only the room of the chosen command is imported, and JAX only once its arguments are right: help comes at once.
"""

import argparse
import pkgutil
import sys
from collections.abc import Collection, Sequence

from palgan_jax import __version__
from palgan_jax.completion import DescribedParser
from palgan_jax.errors import UserError, flush_output, print_any_name, report
from palgan_jax.util.platforms import leave_out_absent_tpus
from palgan_jax.util.terminal import show_messages

COMMANDS = {
    "train": ("training.command:add_arguments", "train a model; the same command goes on where a run ended"),
    "finetune": ("finetune.command:add_arguments", "train a model further on a folder, and say whether it helped"),
    "colorize": ("colorize.command:add_arguments", "colorize photographs"),
    "web": ("web.command:add_arguments", "colorize photographs on a page in the browser, with palettes to edit"),
    "palette": ("palette.command:add_arguments", "take palettes from pictures, show, mix, edit and convert them"),
    "evaluate": ("evaluation.command:add_arguments", "measure a checkpoint, or the pictures of any other system"),
    "benchmark": ("benchmark.command:add_arguments", "measure speed and memory, here or for an absent TPU pod"),
    "info": ("checkpoint.command:add_arguments", "say what a checkpoint holds"),
    "export": ("export.command:add_arguments", "write a trained model into one file, also for other programs"),
    "push": ("publish.command:add_arguments", "upload a trained model to the Hugging Face Hub"),
    "weights": ("pretrained.command:add_arguments", "import the networks that metrics and the perceptual loss need"),
    "prepare": ("prepare.command:add_arguments", "make ImageNet, COCO or photographs ready to train on"),
    "runs": ("runs.command:add_arguments", "show curves, configs and samples of training runs on a page"),
    "data": ("data.command:add_arguments", "say what is in a set of pictures"),
    "completion": ("completion:add_arguments", "write the script by which a shell completes commands and options"),
}
"""Name -> the function that gives a parser the command's arguments and the function `run`, and a line of help."""
TAKE_CONFIG_FIELDS = ("train", "finetune", "benchmark")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code, one of `errors.ExitCode`."""
    print_any_name()
    show_messages()
    leave_out_absent_tpus()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        parser = _parser([word for word in arguments if not word.startswith("-")][:1])
        args, rest = parser.parse_known_args(arguments)
        if rest and args.command not in TAKE_CONFIG_FIELDS:
            parser.error(f"{rest[0]} is not an option of palgan {args.command}.")
        args.described = lambda: _parser(COMMANDS, DescribedParser)
        args.overrides = _config_overrides(rest, args.command)
        code = args.run(args)
        flush_output()
        return code
    except (Exception, KeyboardInterrupt) as error:
        return report(error)


def _parser(
    command_names: Collection[str], kind: type[argparse.ArgumentParser] = argparse.ArgumentParser
) -> argparse.ArgumentParser:
    """Makes the parser of all commands, with the arguments of those in `command_names` alone."""
    parser = kind(prog="palgan", description="Colorizes photographs with palettes (PalGAN, in JAX).")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (add_arguments, line) in COMMANDS.items():
        command = commands.add_parser(name, help=line)
        if name in command_names:
            pkgutil.resolve_name(f"palgan_jax.{add_arguments}")(command)
    return parser


def _config_overrides(arguments: Sequence[str], command: str) -> list[str]:
    """Returns "field=value" for each `--config.field=value` or `--config.field value`; UserError for anything else."""
    overrides, remaining_arguments = [], list(arguments)
    while remaining_arguments:
        argument = remaining_arguments.pop(0)
        if not argument.startswith("--config."):
            raise UserError(
                f"{argument} is not an option of palgan {command}: set fields of the config as --config.field=value."
            )
        field = argument.removeprefix("--config.")
        if "=" not in field and remaining_arguments and not remaining_arguments[0].startswith("--"):
            field = f"{field}={remaining_arguments.pop(0)}"
        overrides.append(field)
    return overrides


if __name__ == "__main__":
    sys.exit(main())
