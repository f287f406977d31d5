"""`palgan colorize PICTURE... --output DIR [--checkpoint PATH] [--reference PICTURE]`."""

import argparse
import sys
import time
from pathlib import Path

from tqdm import tqdm

from palgan_jax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan colorize`."""
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", type=Path, help="JPEG, PNG, WebP, TIFF or BMP files")
    parser.add_argument(
        "--output", required=True, metavar="DIR", type=Path, help="folder for the PNGs; made if missing"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="PATH",
        help="a training run's folder or a .safetensors file (default: the weights that come with the package)",
    )
    parser.add_argument(
        "--reference",
        metavar="PICTURE",
        type=Path,
        help="paint with the palette of this picture instead of a predicted one",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Colorizes the pictures and returns the exit code: 0, or 2 where a picture could not be done.

    A bad picture gets its sentence on standard error and the others are still done. What makes all of them impossible
    (no checkpoint, an output folder that cannot be written to, a bad reference) raises UserError, before any long work.
    """
    # Only here, since it imports JAX: asking for help should not wait for that.
    from palgan_jax.util.compilation import keep_compiled_programs, no_garbage_collection

    with no_garbage_collection():
        from palgan_jax.colorize.files import check_picture_file, colorize_file, target_files
        from palgan_jax.colorize.predictor import Colorizer
        from palgan_jax.data.decode import read_rgb
        from palgan_jax.util.files import make_folder

    sources = list(dict.fromkeys(args.pictures))
    good = [source for source in sources if _succeeds(check_picture_file, source)]
    if not good:
        return 2
    reference = None
    if args.reference is not None:
        check_picture_file(args.reference)
        reference = read_rgb(args.reference)
    make_folder(args.output)
    keep_compiled_programs()
    with no_garbage_collection():
        colorizer = Colorizer.load(args.checkpoint)
    print(f"Loaded {colorizer.source}.", flush=True)
    palette = None if reference is None else colorizer.palette_of(reference)
    keep = [source for source in sources if source not in good] + ([args.reference] if args.reference else [])
    targets = target_files(good, args.output, keep)
    done = 0
    with tqdm(total=len(good), unit="picture", disable=not sys.stderr.isatty()) as bar:
        for source, target in zip(good, targets, strict=True):
            start = time.perf_counter()
            if _succeeds(colorize_file, colorizer, source, target, palette):
                done += 1
                tqdm.write(f"{source} -> {target} ({time.perf_counter() - start:.1f} s)")
            bar.update()
    if len(sources) > 1:
        print(f"Colorized {done} of {len(sources)} pictures into {args.output}.")
    return 0 if done == len(sources) else 2


def _succeeds(function, *args) -> bool:
    """Calls the function; a UserError is told on standard error, and is the only way to fail."""
    try:
        function(*args)
    except UserError as error:
        tqdm.write(f"palgan: error: {error}", file=sys.stderr)
        return False
    return True
