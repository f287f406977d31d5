"""`palgan colorize PICTURE... --output PATH [--checkpoint PATH] [--palette FILE] [--format FORMAT]`."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from palgan_jax.colorize.painting_options import PaintingOptions, add_painting_options
from palgan_jax.errors import UserError
from palgan_jax.util.files import expand_home, user_path

if TYPE_CHECKING:
    from palgan_jax.colorize.batch import Outcome
    from palgan_jax.colorize.inputs import Source
    from palgan_jax.colorize.record import Records
    from palgan_jax.colorize.summary import Summary

ENGINES = ("auto", "jax", "onnx")
FORMATS = ("png", "jpeg", "webp", "tiff", "avif", "same")  # those of `encode`, which imports Pillow
_OF_FILES = ("pictures", "output", "overwrite", "report")  # which decide where from and where to, and no more


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
        help="a training run's folder, a .safetensors file or hf:OWNER/NAME (default: the weights of the package)",
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
        "--pages",
        choices=("first", "all"),
        default="first",
        help="of files with several pages or frames: the first (default), or all, with a result for each",
    )
    parser.add_argument(
        "--max-megapixels",
        metavar="N",
        type=_megapixels,
        help="refuse larger pictures (default: 120)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what runs the network: jax; onnx, which starts sooner; auto (default): the one that does, here",
    )
    parser.add_argument(
        "--report",
        metavar="FILE",
        type=user_path,
        help="write report.json, of what became of each picture, and report.html, with each before and after",
    )
    add_painting_options(parser)
    parser.set_defaults(run=run)


def _megapixels(text: str) -> float:
    """Returns a number of megapixels, of at least one pixel."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 1 <= number * 1_000_000 < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of megapixels, such as 200")
    return number


def options_in_words(args: argparse.Namespace, named_format: str | None = None) -> list[str]:
    """Returns the words of a command that decide what is made of pictures: its options, but for those left out.

    named_format: the format that the output's own name announces, if it is a file.
    """
    args = argparse.Namespace(**{**vars(args), "format": named_format or args.format})
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = []
    for name, default in vars(parser.parse_args(["-", "--output=-"])).items():
        value = getattr(args, name)
        if name in _OF_FILES or value == default:
            continue
        option = f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [value]
        words += [option if value is True else f"{option}={value}" for value in values]
    return words


def run(args: argparse.Namespace) -> int:
    """Colorizes the pictures and returns the exit code: 0, 2 where a picture could not be done, or 130 at Ctrl-C.

    A bad picture costs itself alone; those that could not be done are listed at the end. What makes all of them
    impossible (no checkpoint, an output folder that cannot be written to, a bad reference) raises UserError, before any
    long work.
    """
    # Only here, since it imports NumPy and the engine: asking for help should not wait for that.
    from palgan_jax.util.compilation import keep_compiled_programs, no_garbage_collection

    with no_garbage_collection():
        from palgan_jax.checkpoint.find import find_weights
        from palgan_jax.colorize.batch import Worker, do_jobs
        from palgan_jax.colorize.encode import format_of_suffix
        from palgan_jax.colorize.engines import NAMES, choose_engine
        from palgan_jax.colorize.inputs import find_sources
        from palgan_jax.colorize.lock import predict_palettes
        from palgan_jax.colorize.predictor import Colorizer
        from palgan_jax.colorize.record import Records, settings_digest, weights_digest
        from palgan_jax.colorize.summary import Summary, note, say, say_stopping
        from palgan_jax.colorize.targets import Names, Version, named_file, plan, plan_one, versions
        from palgan_jax.data.decode import MAX_PIXELS
        from palgan_jax.util.files import make_folder
        from palgan_jax.util.progress import Progress
        from palgan_jax.util.threads import available_cores

    sources, errors = find_sources(args.pictures)
    one_file = named_file(args.output, sources, len(sources) + len(errors))
    named_format = format_of_suffix(args.output) if one_file else None
    kind = _kind(args, named_format)
    summary = Summary(args.report)
    summary.facts["options"] = options_in_words(args, named_format)
    for error in errors:
        summary.fail("", error)
    records = Records()
    max_pixels = int(args.max_megapixels * 1_000_000) if args.max_megapixels else MAX_PIXELS
    sizes = _look_at(sources, records, max_pixels, args.pages == "all", summary)
    pages = list(sizes)
    if not pages:
        return summary.end(args.output)
    if one_file and len(pages) > 1:
        raise UserError(f"{args.output} is the name of one picture, and there are {len(pages)} pages: name a folder.")
    options = PaintingOptions(args, max_pixels)
    make_folder(args.output.parent if one_file else args.output)
    with no_garbage_collection():
        weights = find_weights(args.checkpoint)
        engine = choose_engine(args.engine, weights)
        if engine == "jax":
            keep_compiled_programs()
        colorizer = Colorizer(weights, engine)
    say(f"Loaded {colorizer.source}, run by {NAMES[colorizer.engine]}.")
    summary.facts["checkpoint"] = colorizer.source
    painting = options.painting(colorizer, partial(predict_palettes, colorizer, sizes, max_pixels))
    for text in options.notes:
        note(text)
    model = weights_digest(weights)

    @cache  # masks and palettes are large
    def settings(kind: str, version: Version) -> str:
        version_painting = replace(painting, sample=version.sample or version.on_sheet)
        return settings_digest(model, f"{version_painting.digest()} {version}", kind, args.quality)

    keep = [source.path for source in sources if source not in summary.results]
    names = Names([*keep, *options.files], replace_existing=args.overwrite)
    if one_file:
        jobs = plan_one(pages[0], args.output, kind, versions(args.samples), settings, names, records, args.overwrite)
    else:
        jobs = plan(pages, args.output, kind, versions(args.samples), settings, names, records, args.overwrite)
    for job in jobs:
        if job.is_done:
            summary.skip(job, sizes[job.source])
    pending = [(job, math.prod(sizes[job.source])) for job in jobs if not job.is_done]
    worker = Worker(colorizer, painting, args.quality, max_pixels, records, None if one_file else names, args.overwrite)
    with Progress("colorizing", len(pending), unit="picture", last_line=False) as progress:

        def report(outcome: "Outcome") -> None:
            summary.take(outcome, sizes[outcome.job.source])
            if outcome.target or outcome.error:
                progress.advance(f"{summary.failed} failed" if summary.failed else "")

        is_whole = do_jobs(pending, worker, available_cores(), report, say_stopping)
    if not is_whole:
        summary.stop((job for job, _ in pending), sizes, args.overwrite)
    return summary.end(args.output)


def _look_at(
    sources: "Sequence[Source]", records: "Records", max_pixels: int, all_pages: bool, summary: "Summary"
) -> "dict[Source, tuple[int, int]]":
    """Returns the size of each picture that can be colorized, from its header; the summary takes the others.

    all_pages: whether each page of a file is a picture of its own.
    """
    from palgan_jax.colorize.files import is_result
    from palgan_jax.data.decode import check_size, page_sizes, picture_size
    from palgan_jax.util.threads import available_cores, ordered_map

    def look(source: "Source") -> "list[tuple[int, int]] | UserError | None":
        try:
            path = source.path
            sizes_of_pages = page_sizes(path) if all_pages else [picture_size(path, max_pixels=max_pixels)]
        except UserError as error:
            return error
        return None if is_result(path) or records.has_written(path) else sizes_of_pages

    sizes = {}
    cores = available_cores()
    for source, answer in zip(sources, ordered_map(look, sources, cores, 4 * cores), strict=True):
        if isinstance(answer, UserError):
            summary.fail(str(source.path), answer)
        elif answer is None:
            summary.results.append(source)
        else:
            for page, size in zip(source.pages(len(answer)), answer, strict=True):
                try:
                    check_size(size, str(page), max_pixels)
                    sizes[page] = size
                except UserError as error:
                    summary.fail(str(source.path), error, page=page.page)
    if summary.results:
        summary.leave_aside(not sizes and not summary.failed)
    return sizes


def _kind(args: argparse.Namespace, named_format: str | None) -> str:
    """Returns the format of the results. Raises UserError where options contradict each other.

    named_format: the format that the output's own name announces, if it is a file.
    """
    if args.quality is not None and not 1 <= args.quality <= 100:
        raise UserError(f"--quality is 1 to 100, not {args.quality}: 95 is good, 100 the best.")
    if named_format and args.format not in (None, "same", named_format):
        raise UserError(f"{args.output} is no name of a {args.format} file: leave --format out, or change the name.")
    kind = named_format or args.format or "png"
    if args.quality is not None and kind in ("png", "tiff"):
        raise UserError(f"results in {kind} lose nothing: leave --quality out, or choose another --format.")
    return kind
