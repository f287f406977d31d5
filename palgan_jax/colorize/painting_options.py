"""The options of `palgan colorize` that say how pictures are painted."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from palgan_jax.errors import UserError
from palgan_jax.util.files import expand_home, user_path
from palgan_jax.util.weighted_path import weighted_path

if TYPE_CHECKING:
    import numpy as np

    from palgan_jax.colorize.painting import Painting
    from palgan_jax.colorize.predictor import Colorizer
    from palgan_jax.palette.palette import Palette


def add_painting_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    group = parser.add_argument_group("colors")
    group.add_argument(
        "--palette", metavar="FILE", type=user_path, help="paint with this palette: .json, .gpl, .aco, .ase, .act, .txt"
    )
    group.add_argument(
        "--reference",
        metavar="PICTURE[:WEIGHT]",
        type=expand_home,
        action="append",
        default=[],
        help="paint with the palette of this picture; of several, with their mean",
    )
    group.add_argument("--lock", action="store_true", help="paint all pictures with one palette: the mean of theirs")
    group.add_argument(
        "--edit", metavar="EDITS", help='change the palette: "shift hue=20; boost #c04040 2; remove #5a7a3a"'
    )
    group.add_argument(
        "--point",
        metavar="X,Y=COLOR",
        action="append",
        default=[],
        help="give a color at a pixel, from the upper left corner, and to what belongs to it: 120,80=#c03030; or a PNG "
        "of the picture's size that is transparent but for strokes of the wanted colors",
    )
    group.add_argument(
        "--saturation", metavar="X", type=float, default=1.0, help="multiply the colors: 0 is gray (default: 1)"
    )
    group.add_argument(
        "--region",
        metavar="MASK=PALETTE|PICTURE",
        action="append",
        default=[],
        help="paint where the mask is white with a palette file or another picture's colors; the last lies on top",
    )
    group.add_argument(
        "--resolution",
        metavar="N",
        type=int,
        help="paint at N x N pixels, such as 512, for small things (default: the model's own; the palette always is)",
    )
    group.add_argument(
        "--paint-border", action="store_true", help="paint the border of a print, too (default: it stays gray)"
    )
    group.add_argument(
        "--restore-contrast",
        action="store_true",
        help="stretch a faded print from black to white first (default: its luminance stays as it is)",
    )
    group.add_argument(
        "--samples", metavar="K", type=int, default=0, help="paint K more versions of each picture, and a sheet of them"
    )
    group.add_argument("--seed", metavar="N", type=int, default=0, help="choose other samples (default: 0)")
    group.add_argument(
        "--temperature", metavar="T", type=float, default=1.0, help="how different samples are, 0 to 2 (default: 1)"
    )


class PaintingOptions:
    """What the options ask for, read and checked before any long work.

    Attributes:
      files: the files that were named, none of which a result may replace.
      notes: sentences about them for the user.
    """

    def __init__(self, args: argparse.Namespace, max_pixels: int) -> None:
        """Raises UserError where options contradict each other, and where a file cannot be read."""
        from palgan_jax import open_picture
        from palgan_jax.colorize.painting import Painting
        from palgan_jax.colorize.points import Hints
        from palgan_jax.palette.edit_words import parse_edits
        from palgan_jax.palette.palette import Palette
        from palgan_jax.palette.samples import check_samples

        names = [name for name in ("palette", "reference", "lock") if getattr(args, name)]
        if len(names) > 1:
            raise UserError(
                f"--{names[0]} and --{names[1]} both say which palette to paint with: leave one out, or mix palettes "
                "with `palgan palette mix`."
            )
        self.notes: list[str] = []
        self._lock = args.lock
        self._references = [(path, open_picture(path, max_pixels=max_pixels), weight) for path, weight in
                            map(weighted_path, args.reference)]  # fmt: skip
        self.files: list[Path] = [*([args.palette] if args.palette else []), *(path for path, _, _ in self._references)]
        palette = Palette.load(args.palette) if args.palette else None
        edits = parse_edits(args.edit) if args.edit is not None else None
        hints, strokes = Hints.of_words(args.point, max_pixels) if args.point else (None, None)
        if strokes:
            self.files.append(strokes)
        self._regions = [self._read_region(word, max_pixels) for word in args.region]
        self._painting = Painting(
            palette,
            edits,
            args.saturation,
            0,
            args.temperature,
            args.seed,
            hints,
            resolution=args.resolution,
            paint_border=args.paint_border,
            restore_contrast=args.restore_contrast,
        )
        check_samples(args.samples, args.temperature)

    def _read_region(self, word: str, max_pixels: int) -> "tuple[np.ndarray, str, np.ndarray | Palette, str]":
        """Returns the mask and the palette, or the picture that it is taken from, of MASK=PALETTE, and their names."""
        from palgan_jax.colorize.regions import is_palette_file, mask_of, region_and_source
        from palgan_jax.data.in_memory import take_picture
        from palgan_jax.palette.palette import Palette

        mask, source = region_and_source(word)
        self.files += [mask, source]
        pixels = mask_of(take_picture(mask, max_pixels), str(mask))
        palette = Palette.load(source) if is_palette_file(source) else take_picture(source, max_pixels).on_white()
        return pixels, str(mask), palette, str(source)

    def painting(self, colorizer: "Colorizer", predictions: Callable[["Painting"], "Sequence[Palette]"]) -> "Painting":
        """Returns how to paint with a model; `predictions` returns the palettes of all pictures, if painted so."""
        from dataclasses import replace

        from palgan_jax.colorize.painting import mean_of_references, notes_of_gray
        from palgan_jax.colorize.regions import Region
        from palgan_jax.palette.palette import Palette

        kind = colorizer.spec, colorizer.config.ab_range
        regions, named_palettes = [], []
        for mask, name, source, source_name in self._regions:
            palette = source if isinstance(source, Palette) else Palette.of(source, *kind)
            regions.append(Region(mask, palette, name))
            named_palettes.append((source_name, palette))
        self.notes = notes_of_gray(named_palettes)
        painting = replace(self._painting, regions=tuple(regions))
        if self._references:
            palettes = [(str(path), Palette.of(rgb, *kind)) for path, rgb, _ in self._references]
            palette, notes = mean_of_references(palettes, [weight for _, _, weight in self._references])
            self.notes += notes
            return replace(painting, palette=palette)
        if self._lock and (predicted := predictions(painting)):
            return replace(painting, palette=Palette.mean(predicted), follow=False)
        return painting
