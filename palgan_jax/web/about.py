"""What the page is told of the model, by the server or by a file beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palgan_jax.palette.spec import PaletteSpec

PAGE = Path(__file__).parent / "page"
SAMPLES = Path(__file__).parents[1] / "examples" / "samples"
EXAMPLES = ("hay-field", "wooden-house", "astronaut", "beach-malibu")
"""Of the bundled samples, those that the page offers."""
SIDES = (192, 640, 1280)
"""The longer sides of what is shown: of a thumbnail, while something is moved, and at rest."""
MOST_BYTES = 200_000_000
"""Of a picture's file."""
SEED = 0
"""Of the versions that are drawn around a palette."""


def about(
    takes_palette: bool, spec: PaletteSpec, ab_range: float, formats: Mapping[str, tuple[str, str]]
) -> dict[str, Any]:
    """Describes a model for the page, as an object of JSON.

    Args:
      takes_palette: whether it paints with palettes.
      spec, ab_range: how they are counted.
      formats: of results: the name of each -> its title and its suffix.
    """
    return {
        "takesPalette": takes_palette,
        "spec": {**vars(spec), "ab_range": ab_range},
        "formats": [{"name": name, "title": title, "suffix": suffix} for name, (title, suffix) in formats.items()],
        "examples": [{"name": name.replace("-", " "), "url": f"examples/{name}.jpg"} for name in EXAMPLES],
        "sides": SIDES,
        "mostBytes": MOST_BYTES,
    }
