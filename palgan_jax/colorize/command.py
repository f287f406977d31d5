"""`palgan colorize PICTURE... --output PATH [--checkpoint PATH] [--reference PICTURE] [--format FORMAT]`."""

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from palgan_jax.errors import UserError, printable
from palgan_jax.util.files import expand_home, user_path

if TYPE_CHECKING:
    from palgan_jax.colorize.inputs import Source

FORMATS = ("png", "jpeg", "webp", "tiff", "avif", "same")  # those of `encode`, which imports Pillow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan colorize`."""
    parser.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="picture files (JPEG, PNG, TIFF and others, - for a pipe), folders, patterns in quotes, or @list.txt",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="PATH",
        type=user_path,
        help="folder for the results, made if missing, in which a folder keeps its structure; or a file: boat.jpg",
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
        "--format",
        choices=FORMATS,
        help="of the results (default: png, which loses nothing; same: that of each picture, where it is written)",
    )
    parser.add_argument(
        "--quality",
        type=int,
        metavar="1-100",
        help="of JPEG (default: 95), WebP (90; 100 loses nothing) and AVIF (85)",
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
        from palgan_jax.colorize.encode import format_of_suffix
        from palgan_jax.colorize.inputs import find_sources
        from palgan_jax.colorize.predictor import Colorizer
        from palgan_jax.colorize.record import Records, settings_digest, weights_digest
        from palgan_jax.colorize.targets import Names, named_file, plan, plan_one
        from palgan_jax.data.decode import MAX_PIXELS, picture_size, read_rgb
        from palgan_jax.util.files import make_folder

    sources, errors = find_sources(args.pictures)
    one_file = named_file(args.output, sources, len(sources) + len(errors))
    kind = _kind(args, format_of_suffix(args.output) if one_file else None)
    for error in errors:
        _tell(error)
    records = Records()
    max_pixels = args.max_megapixels or MAX_PIXELS
    good = [source for source in sources if _succeeds(partial(picture_size, max_pixels=max_pixels), source.path)]
    results = [source for source in good if _is_result(source.path, records)]
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
    make_folder(args.output.parent if one_file else args.output)
    keep_compiled_programs()
    with no_garbage_collection():
        weights = find_weights(args.checkpoint)
        colorizer = Colorizer(weights)
    _say(f"Loaded {colorizer.source}.")
    palette = None if reference is None else colorizer.palette_of(reference)
    model = weights_digest(weights)

    def settings(kind: str) -> str:
        return settings_digest(model, palette, kind, args.quality)

    keep = [source.path for source in sources if source not in results] + ([args.reference] if args.reference else [])
    names = Names(keep, replace_existing=args.overwrite)
    if one_file:
        jobs = [plan_one(good[0], args.output, kind, settings(kind), names, records, args.overwrite)]
    else:
        jobs = plan(good, args.output, kind, settings, names, records, args.overwrite)
    done = 0
    for job in jobs:
        if job.is_done:
            _say(f"{job.source.path} is done already: {job.target}")
    left = [job for job in jobs if not job.is_done]
    with tqdm(total=len(left), unit="picture", disable=not sys.stderr.isatty()) as bar:
        for job in left:
            start = time.perf_counter()
            try:
                target = _colorize(job, colorizer, palette, args, None if one_file else names, records)
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


def _kind(args: argparse.Namespace, named: str | None) -> str:
    """Returns the format of the results. Raises UserError where options contradict each other.

    named: the format that the output's own name announces, if it is a file.
    """
    if args.quality is not None and not 1 <= args.quality <= 100:
        raise UserError(f"--quality is 1 to 100, not {args.quality}: 95 is good, 100 the best.")
    if named and args.format not in (None, "same", named):
        raise UserError(f"{args.output} is no name of a {args.format} file: leave --format out, or change the name.")
    kind = named or args.format or "png"
    if args.quality is not None and kind in ("png", "tiff"):
        raise UserError(f"results in {kind} lose nothing: leave --quality out, or choose another --format.")
    return kind


def _colorize(job: Any, colorizer: Any, palette: Any, args: argparse.Namespace, names: Any, records: Any) -> Path:
    """Does one job; returns the path of the result. Raises UserError."""
    from hashlib import sha256

    from palgan_jax.colorize.files import colorize_bytes
    from palgan_jax.colorize.record import Entry
    from palgan_jax.data.decode import MAX_PIXELS, read_bytes
    from palgan_jax.util.files import write_file, write_new_file

    data = read_bytes(job.source.path)
    max_pixels = args.max_megapixels or MAX_PIXELS
    name = str(job.source.path)
    result, _, notes = colorize_bytes(colorizer, data, name, palette, job.kind, args.quality, max_pixels)
    for note in notes:
        tqdm.write(f"palgan: note: {printable(note)}", file=sys.stderr)
    target = job.target
    target.parent.mkdir(parents=True, exist_ok=True)
    if args.overwrite:
        write_file(target, result)
    else:
        while True:
            try:
                write_new_file(target, result)
                break
            except FileExistsError:  # somebody has made it since
                if names is None:
                    raise UserError(f"{target} exists already: choose another name.") from None
                target = names.take(target)
    source = str(job.source.path.absolute())
    digests = sha256(data).hexdigest(), sha256(result).hexdigest()
    entry = Entry(target.name, source, len(data), digests[0], job.settings, len(result), digests[1])
    records.add(target.parent, entry)
    return target


def _is_result(path: Path, records: Any) -> bool:
    from palgan_jax.colorize.files import is_result

    return is_result(path) or records.has_written(path)


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
