"""`palgan palette extract|show|mix|edit|convert`: palettes as files, which `palgan colorize --palette` paints with."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from palgan_jax.errors import UserError
from palgan_jax.util.files import expand_home, user_path
from palgan_jax.util.weighted_path import weighted_path

if TYPE_CHECKING:
    from palgan_jax.palette.palette import Palette

_FILES = "a palette: .json (all of it), .gpl, .aco, .ase, .act, .txt or .hex (swatches)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan palette`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, line: str, run, output: str = f"{_FILES}; without it, the palette is shown"):
        action_parser = actions.add_parser(name, help=line, description=line)
        action_parser.add_argument("-o", "--output", metavar="FILE", type=user_path, help=output)
        action_parser.add_argument("--overwrite", action="store_true", help="replace the file of --output")
        action_parser.set_defaults(run=run)
        return action_parser

    extract = action("extract", "take the palette of pictures", run_extract)
    extract.add_argument(
        "pictures", nargs="+", metavar="PICTURE", type=expand_home, help="of several, their mean is taken"
    )
    extract.add_argument("--predict", action="store_true", help="take the palette that a model predicts for them")
    extract.add_argument("--checkpoint", metavar="PATH", type=expand_home, help="another model than the bundled one")
    show = action("show", "tell the colors of a palette", run_show, "draw it into this picture (.png)")
    show.add_argument("palette", metavar="FILE", type=user_path, help=_FILES)
    show.add_argument("--swatches", metavar="N", type=int, default=8, help="how many colors (default: 8)")
    mix = action("mix", "mix palettes", run_mix)
    mix.add_argument("palettes", nargs="+", metavar="FILE[:WEIGHT]", type=expand_home, help=_FILES)
    edit = action("edit", "change the colors of a palette", run_edit)
    edit.add_argument("palette", metavar="FILE", type=user_path, help=_FILES)
    edit.add_argument("edits", metavar="EDITS", help='"shift hue=20 chroma=1.2; boost #c04040 2; remove #5a7a3a"')
    convert = action("convert", "write a palette in another format", run_convert)
    convert.add_argument("palette", metavar="FILE", type=user_path, help=_FILES)
    convert.add_argument("target", metavar="TARGET", type=user_path, help="as what to write it")
    convert.add_argument("--swatches", metavar="N", type=int, default=16, help="how many colors (default: 16)")


def run_extract(args: argparse.Namespace) -> int:
    """Takes the palette of pictures, or the predicted one."""
    from palgan_jax import Colorizer, open_picture
    from palgan_jax.palette.palette import Palette

    if args.checkpoint and not args.predict:
        raise UserError("the palette of a picture needs no model: leave --checkpoint out, or add --predict.")
    _check_free(args.output, args.overwrite)
    pictures = [open_picture(path) for path in args.pictures]
    palette_of = Colorizer.load(args.checkpoint).predict_palette_of if args.predict else Palette.of
    return _give(Palette.mean([palette_of(picture) for picture in pictures]), args)


def run_show(args: argparse.Namespace) -> int:
    """Tells the colors of a palette, and draws it where a picture is named."""
    from palgan_jax.palette.palette import Palette

    _check_count(args.swatches)
    palette = Palette.load(args.palette)
    if args.output is not None:
        if args.output.suffix.lower() != ".png":
            raise UserError(f"{args.output} is no name of a drawing: let it end in .png.")
        _write(args.output, palette.drawing(), args.overwrite)
    _tell(palette, args.swatches)
    return 0


def run_mix(args: argparse.Namespace) -> int:
    """Mixes palettes."""
    from palgan_jax.palette.palette import Palette

    words = [weighted_path(word) for word in args.palettes]
    palettes = [Palette.load(path) for path, _ in words]
    return _give(Palette.mean(palettes, [weight for _, weight in words]), args)


def run_edit(args: argparse.Namespace) -> int:
    """Edits a palette."""
    from palgan_jax.palette.edit_words import parse_edits
    from palgan_jax.palette.palette import Palette

    edits = parse_edits(args.edits)
    return _give(edits(Palette.load(args.palette)), args)


def run_convert(args: argparse.Namespace) -> int:
    """Writes a palette in another format."""
    from palgan_jax.palette.palette import Palette

    if args.output is not None:
        raise UserError("a palette is converted to the file that is named second: leave --output out.")
    _write(args.target, Palette.load(args.palette).to_bytes(args.target, args.swatches), args.overwrite)
    return 0


def _give(palette: "Palette", args: argparse.Namespace) -> int:
    """Writes a palette where a file is named, and tells its colors otherwise."""
    if args.output is None:
        _tell(palette, 8)
    else:
        _write(args.output, palette.to_bytes(args.output), args.overwrite)
    return 0


def _check_count(count: int) -> None:
    if count < 1:
        raise UserError(f"a palette is told by at least one color, not {count}.")


def _tell(palette: "Palette", count: int) -> None:
    for swatch in palette.swatches(count):
        a, b = swatch.ab
        print(f"{swatch.color}  {swatch.share:6.1%}  a {a:+6.1f}  b {b:+6.1f}")


def _check_free(path: Path | None, overwrite: bool) -> None:
    if path is not None and os.path.lexists(path) and not overwrite:
        raise UserError(f"{path} exists already: choose another name, or replace it with --overwrite.")


def _write(path: Path, content: bytes, overwrite: bool) -> None:
    from palgan_jax.util.files import write_file, write_new_file

    _check_free(path, overwrite)
    try:
        (write_file if overwrite else write_new_file)(path, content)
    except FileExistsError:
        _check_free(path, overwrite)
        raise
    print(f"Wrote {path}.")
