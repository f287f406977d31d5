"""`palgan weights import FILE` and `palgan weights list`."""

import argparse

from palgan_jax.util.files import expand_home


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan weights`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("import", help="check a file of weights and keep it; nothing in it is run")
    add.add_argument(
        "source",
        metavar="FILE",
        type=expand_home,
        help="a .pth or .safetensors file, or an installed package that `list` names",
    )
    add.add_argument("--as", dest="kind", metavar="KIND", help="refuse other kinds (default: told from the content)")
    add.set_defaults(run=run_import)
    show = actions.add_parser("list", help="say which weights are there, what needs them and how to get the others")
    show.set_defaults(run=run_list)


def run_import(args: argparse.Namespace) -> int:
    """Imports a file of weights and prints what it held; returns 0."""
    from palgan_jax.pretrained.store import import_weights

    for entry in import_weights(args.source, args.kind):
        print(f"{entry.kind}: {entry.source}, {'as published' if entry.published else 'not the published file'}")
    return 0


def run_list(_: argparse.Namespace) -> int:
    """Prints which weights are imported and which are missing; returns 0."""
    from palgan_jax.pretrained.store import describe_store

    print(describe_store())
    return 0
