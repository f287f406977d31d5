"""`palgan completion SHELL`: the script by which a shell completes commands, options, choices and names of files."""

import argparse
from typing import Any

from palgan_jax.errors import ExitCode

SHELLS = ("bash", "zsh", "tcsh")


class DescribedParser(argparse.ArgumentParser):
    """A parser that is read by shtab and parses nothing: values without choices and numbers are names of files to it.

    Without that word, a shell would offer nothing in their places.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in (None, "store", "append"):
            self.register("action", name, _Value)


class _Value(argparse.Action):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        import shtab

        if self.choices is None and self.type not in (int, float):
            self.complete = shtab.FILE

    def __call__(self, *_: Any) -> None:
        raise NotImplementedError("nothing is parsed by the parser that completions are made of")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan completion`."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to read it")
    parser.epilog = 'for bash, put  eval "$(palgan completion bash)"  into ~/.bashrc'
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the script for all commands, which `args.described` describes; returns 0."""
    import shtab

    print(shtab.complete(args.described(), args.shell))
    return ExitCode.FINISHED
