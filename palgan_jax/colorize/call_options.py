"""What a colorizer may be asked for in Python, and how it becomes a painting."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from palgan_jax.colorize.files import read_photograph
from palgan_jax.colorize.metadata import Metadata
from palgan_jax.colorize.painting import Painting, mean_of_references
from palgan_jax.colorize.points import Hints
from palgan_jax.colorize.regions import Region, mask_of, palette_or_reference
from palgan_jax.data.file_bytes import read_bytes
from palgan_jax.data.in_memory import Readable, take_picture
from palgan_jax.data.picture import Picture
from palgan_jax.errors import UserError
from palgan_jax.palette.edit_words import parse_edits
from palgan_jax.palette.palette import Palette
from palgan_jax.palette.spec import PaletteSpec


class Options(TypedDict, total=False):
    """What may be asked of a colorizer beside the picture.

    Attributes:
      palette: the palette to paint with, or a file of one; without it, each picture has its predicted one.
      reference: pictures whose colors are taken instead, each with a weight if wanted: `[("a.jpg", 2), "b.jpg"]`.
      edit: edits of the palette, in words: `"shift hue=20; remove #5a7a3a"`.
      points: colors that are given at pixels, x to the right and y downwards: `[((120, 80), "#c03030")]`.
      saturation: 1, the default, leaves the colors; 0 is gray, 100 the most. Given colors stay as they are.
      samples: how many more versions to paint, with palettes that are drawn around this one.
      temperature: how far from it they lie, from 0 to 2; 1 if it is not given.
      seed: which versions.
      regions: parts with palettes of their own, `[(mask, palette), ...]`. A mask is a picture, white or opaque where
        the region is, or an array of bools; a palette is one, a file of one, or a picture whose colors are taken.
      resolution: the side of the square that the network paints, a multiple of 64 up to 1024.
      paint_border: True paints the border of a print, too, which stays gray otherwise.
      restore_contrast: True stretches a faded print from black to white first; otherwise luminance stays as it is.
    """

    palette: Palette | str | os.PathLike
    reference: Readable | Sequence[Readable | tuple[Readable, float]]
    edit: str
    points: Sequence[tuple[tuple[int, int], str]]
    saturation: float
    samples: int
    temperature: float
    seed: int
    regions: Sequence[tuple[Readable, Palette | Readable]]
    resolution: int
    paint_border: bool
    restore_contrast: bool


def painting_of(options: Options, spec: PaletteSpec, ab_range: float) -> Painting:
    """Returns the painting that is asked of a model whose palettes are counted in this way.

    Raises UserError where options contradict each other or cannot be read; warns where a reference is gray.
    """
    palette = options.get("palette")
    if palette is not None and not isinstance(palette, Palette):
        palette = Palette.load(palette)
    if references := _weighted(options.get("reference", ())):
        if palette is not None:
            raise UserError("a palette and references were given: leave one out, or mix them with Palette.mix.")
        named_palettes = [(_name(source), Palette.of(source, spec, ab_range)) for source, _ in references]
        palette, notes = mean_of_references(named_palettes, [weight for _, weight in references])
        for note in notes:
            warnings.warn(note, stacklevel=3)
    edit = options.get("edit")
    regions = []
    for i, (mask, source) in enumerate(options.get("regions", ())):
        of_region = source if isinstance(source, Palette) else palette_or_reference(source, spec, ab_range)
        regions.append(Region(mask_of(_mask_picture(mask), f"mask {i + 1}"), of_region, f"mask {i + 1}"))
    return Painting(
        palette,
        parse_edits(edit) if edit else None,
        options.get("saturation", 1.0),
        temperature=options.get("temperature", 1.0),
        seed=options.get("seed", 0),
        hints=Hints.at_points(points) if (points := options.get("points")) else None,
        regions=tuple(regions),
        resolution=options.get("resolution"),
        paint_border=options.get("paint_border", False),
        restore_contrast=options.get("restore_contrast", False),
    )


def read_picture(source: Readable) -> tuple[Picture, Metadata | None]:
    """Returns a picture, and what its result is to say beside the pixels; that is known of files alone."""
    if isinstance(source, str | os.PathLike):
        photograph = read_photograph(read_bytes(Path(source)), os.fspath(source))
        return photograph.picture, photograph.metadata
    return take_picture(source), None


def _mask_picture(mask: Readable) -> Picture:
    """Returns the picture of a mask; an array of bools is white where it is True."""
    if isinstance(mask, np.ndarray) and mask.dtype == bool:
        mask = mask.astype(np.uint8) * 255
    return take_picture(mask)


def _weighted(
    reference: Readable | Sequence[Readable | tuple[Readable, float]],
) -> list[tuple[Readable, float]]:
    """Returns references with their weights."""
    several = isinstance(reference, Sequence) and not isinstance(reference, str)
    references: Sequence[Any] = reference if several else [reference]  # type: ignore[assignment]
    return [item if isinstance(item, tuple) else (item, 1.0) for item in references]


def _name(source: Readable) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "the reference"
