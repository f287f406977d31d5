"""`palgan colorize PICTURE... --output DIR [--checkpoint PATH] [--reference PICTURE] [--overwrite]`."""

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from palgan_jax.errors import UserError, printable
from palgan_jax.util.files import expand_home, user_path

if TYPE_CHECKING:
    from palgan_jax.colorize.inputs import Source
    from palgan_jax.colorize.record import Records


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan colorize`."""
    parser.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="picture files (JPEG, PNG, TIFF and others, - for a pipe), folders, patterns in quotes, or @list.txt",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", type=user_path, help="folder for the PNGs; made if missing"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="PATH",
        type=expand_home,
        help="a training run's folder or a .safetensors file (default: the weights that come with the package)",
    )
    parser.add_argument(
        "--reference",
        metavar="PICTURE",
        type=user_path,
        help="paint with the palette of this picture instead of a predicted one",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="make what is done anew, and replace files of the results' names; pictures that are named never are",
    )
    parser.add_argument(
        "--max-megapixels",
        metavar="N",
        type=_megapixels,
        help="refuse larger pictures (default: 120, which need about 4 GB of memory)",
    )
    parser.set_defaults(run=run)


def _megapixels(text: str) -> int:
    """Returns the pixels of a number of megapixels above 0."""
    try:
        pixels = int(float(text) * 1_000_000)
    except (ValueError, OverflowError):
        pixels = 0
    if pixels < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of megapixels, such as 200")
    return pixels


def run(args: argparse.Namespace) -> int:
    """Colorizes the pictures and returns the exit code: 0, or 2 where a picture could not be done.

    A bad picture gets its sentence on standard error and the others are still done. What makes all of them impossible
    (no checkpoint, an output folder that cannot be written to, a bad reference) raises UserError, before any long work.
    """
    # Only here, since it imports JAX: asking for help should not wait for that.
    from palgan_jax.util.compilation import keep_compiled_programs, no_garbage_collection

    with no_garbage_collection():
        from palgan_jax.checkpoint.find import find_weights
        from palgan_jax.colorize.inputs import find_sources
        from palgan_jax.colorize.predictor import Colorizer
        from palgan_jax.colorize.record import Records, settings_digest, weights_digest
        from palgan_jax.colorize.targets import Names, plan
        from palgan_jax.data.decode import MAX_PIXELS, picture_size, read_rgb
        from palgan_jax.util.files import make_folder

    max_pixels = args.max_megapixels or MAX_PIXELS
    sources, errors = find_sources(args.pictures)
    for error in errors:
        _tell(error)
    records = Records()
    good = [source for source in sources if _succeeds(partial(picture_size, max_pixels=max_pixels), source.path)]
    results = [source for source in good if _is_result(source, records)]
    bad = len(errors) + len(sources) - len(good)
    good = [source for source in good if source not in results]
    if results and not good and not bad and not any(source.from_folder for source in results):
        raise UserError(f"{_and_more(results)} was made by palgan colorize: name the photograph that it was made from.")
    if results:
        _say(f"{_and_more(results)}: left aside, since palgan colorize has made it.")
    if not good:
        return 2 if bad else 0
    reference = None
    if args.reference is not None:
        reference = read_rgb(args.reference, max_pixels=max_pixels)
    make_folder(args.output)
    keep_compiled_programs()
    with no_garbage_collection():
        weights = find_weights(args.checkpoint)
        colorizer = Colorizer(weights)
    _say(f"Loaded {colorizer.source}.")
    palette = None if reference is None else colorizer.palette_of(reference)
    keep = [source.path for source in sources if source not in results] + ([args.reference] if args.reference else [])
    settings = settings_digest(weights_digest(weights), palette, "png", None)
    names = Names(keep, replace_existing=args.overwrite)
    jobs = plan(good, args.output, lambda _: ".png", lambda _: settings, names, records, args.overwrite)
    done = 0
    for job in jobs:
        if job.is_done:
            _say(f"{job.source.path} is done already: {job.target}")
    left = [job for job in jobs if not job.is_done]
    with tqdm(total=len(left), unit="picture", disable=not sys.stderr.isatty()) as bar:
        for job in left:
            start = time.perf_counter()
            try:
                target = _colorize(job, colorizer, palette, names, records, args.overwrite, max_pixels)
                done += 1
                if job.kept:
                    _say(f"{job.kept} exists already and is kept (--overwrite replaces it).")
                _say(f"{job.source.path} -> {target} ({time.perf_counter() - start:.1f} s)")
            except UserError as error:
                _tell(error)
            bar.update()
    if len(jobs) + bad > 1:
        already = len(jobs) - len(left)
        skipped = f" ({already} more were done already)" if already else ""
        _say(f"Colorized {done} of {len(left) + bad} pictures into {args.output}{skipped}.")
    return 0 if done == len(left) and not bad else 2


def _colorize(job, colorizer, palette, names, records: "Records", overwrite: bool, max_pixels: int) -> Path:
    """Does one job; returns the path of the result. Raises UserError."""
    from hashlib import sha256

    from palgan_jax.colorize.files import colorize_bytes
    from palgan_jax.colorize.record import Entry
    from palgan_jax.data.decode import read_bytes
    from palgan_jax.util.files import write_file, write_new_file

    data = read_bytes(job.source.path)
    result, _, notes = colorize_bytes(colorizer, data, str(job.source.path), palette, max_pixels)
    for note in notes:
        tqdm.write(f"palgan: note: {printable(note)}", file=sys.stderr)
    target = job.target
    target.parent.mkdir(parents=True, exist_ok=True)
    if overwrite:
        write_file(target, result)
    else:
        while True:
            try:
                write_new_file(target, result)
                break
            except FileExistsError:  # somebody has made it since
                target = names.take(target)
    source = os.path.abspath(job.source.path)  # noqa: PTH100 - no links followed
    digests = sha256(data).hexdigest(), sha256(result).hexdigest()
    entry = Entry(target.name, source, len(data), digests[0], job.settings, len(result), digests[1])
    records.add(target.parent, entry)
    return target


def _is_result(source: "Source", records: "Records") -> bool:
    from palgan_jax.colorize.files import is_marked

    return is_marked(source.path) or records.has_written(source.path)


def _and_more(sources: "list[Source]") -> str:
    first, others = sources[0].path, len(sources) - 1
    return f"{first} (and {others} more)" if others else str(first)


def _say(line: str) -> None:
    """Prints a line on standard output, above the bar where there is one."""
    tqdm.write(printable(line))
    sys.stdout.flush()


def _tell(error: UserError) -> None:
    """Prints an error on standard error, above the bar where there is one."""
    tqdm.write(f"palgan: error: {printable(error)}", file=sys.stderr)


def _succeeds(function, *args) -> bool:
    """Calls the function; a UserError is told on standard error, and is the only way to fail."""
    try:
        function(*args)
    except UserError as error:
        _tell(error)
        return False
    return True
