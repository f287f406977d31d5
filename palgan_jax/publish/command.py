"""`palgan push CHECKPOINT OWNER/NAME`: a trained model on the Hugging Face Hub."""

import argparse
import sys

from palgan_jax.errors import ExitCode
from palgan_jax.util.files import expand_home


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan push`."""
    parser.add_argument(
        "checkpoint",
        type=expand_home,
        help="working directory (its best step), checkpoint or weights file; bundled: those that come with the package",
    )
    parser.add_argument("repository", metavar="OWNER/NAME", help="where on the hub; it is made where there is none")
    parser.add_argument("--license", metavar="ID", help="what others may do with it, such as apache-2.0 or cc-by-4.0")
    parser.add_argument("--private", action="store_true", help="a repository that only its owner sees")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Uploads the model and says where it is; returns 0. Raises UserError as `upload` does."""
    from huggingface_hub.utils import disable_progress_bars

    from palgan_jax.hub.names import HubName, check_repository

    check_repository(args.repository)
    if not sys.stderr.isatty():
        disable_progress_bars()
    from palgan_jax.publish.upload import upload
    from palgan_jax.training.start import find_model
    from palgan_jax.util.text import in_words

    weights = find_model(args.checkpoint)
    uploaded = upload(weights, args.repository, args.license, args.private)
    print(f"{weights.source} is at {uploaded.address}" + (":" if uploaded.changed else ", as it was already:"))
    for name, size in uploaded.files.items():
        print(f"  {name:<18}{in_words(size, 1):>10}")
    for note in uploaded.notes:
        print(f"note: {note}")
    print(f"Load it as {HubName(args.repository)}, or this commit of it as {uploaded.name}.")
    return ExitCode.FINISHED
