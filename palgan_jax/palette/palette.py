"""The palette that people hold: a picture's colors as one object, to look at, to edit, to keep and to paint with."""

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from PIL import Image

from palgan_jax import open_picture
from palgan_jax.color import AB_RANGE
from palgan_jax.errors import UserError
from palgan_jax.palette import edits
from palgan_jax.palette.color_shares import color_shares, count_colors
from palgan_jax.palette.colors import parse_color
from palgan_jax.palette.drawing import draw_palette
from palgan_jax.palette.histogram import hellinger, normalized, of_picture, picture
from palgan_jax.palette.spec import Kernel, Normalization, PaletteSpec
from palgan_jax.palette.swatch_files import READERS, read_bounded, read_swatches, write_swatches
from palgan_jax.palette.swatches import Swatch, swatches_of
from palgan_jax.util.files import write_file

if TYPE_CHECKING:
    from os import PathLike

_GENERATOR = "palgan_jax palette"
_COUNTED_AT = 256  # pixels a side
_SUM_OF_FLOATS = 1e-3  # how far from 1 float32 arithmetic leaves the sum of a palette
_GRAY = 0.05  # a Hellinger distance


@dataclass(frozen=True, eq=False)
class Palette:
    """The colors of a picture, as the share of each bin of the ab plane. It never changes: edits return another one.

    Attributes:
      shares: float32 (K,), the sum is 1; the flat index of bin (i_a, i_b) is `bins * i_a + i_b`.
      spec: how it was counted; a model paints with palettes that were counted as its own are.
      ab_range: the a or b, in Lab units, of the coordinate 1 of `spec`.
    """

    shares: np.ndarray
    spec: PaletteSpec = PaletteSpec()
    ab_range: float = AB_RANGE

    def __post_init__(self) -> None:
        """Takes counts of any sum above 0. Raises UserError for what is no palette."""
        try:
            counts = np.array(self.shares, np.float64).ravel()
        except (TypeError, ValueError, OverflowError):
            raise UserError(f"a palette is made of {self.spec.size} numbers, and these are none.") from None
        if counts.size != self.spec.size:
            raise UserError(
                f"a palette has {self.spec.size} bins ({self.spec.bins} x {self.spec.bins}), not {counts.size}."
            )
        with np.errstate(over="ignore", invalid="ignore"):
            total = counts.sum()
        if not math.isfinite(total):
            raise UserError("a palette has numbers alone, and one of its bins is NaN or infinite.")
        if counts.min() < 0:
            raise UserError(f"no bin of a palette is negative, and one is {counts.min():g}.")
        if not total:
            raise UserError("a palette has some color, and all bins of this one are 0.")
        # What a model predicted is kept to the bit, so that it paints what it painted.
        shares = (counts if abs(total - 1) < _SUM_OF_FLOATS else counts / total).astype(np.float32)
        shares.flags.writeable = False
        object.__setattr__(self, "shares", shares)

    @classmethod
    def of(
        cls,
        photograph: "str | PathLike | Image.Image | np.ndarray",
        spec: PaletteSpec = PaletteSpec(),
        ab_range=AB_RANGE,
    ) -> "Palette":
        """Counts the palette of a picture: what `palgan_jax.open_picture` takes. A gray one has the palette of gray."""
        small = Image.fromarray(open_picture(photograph)).resize((_COUNTED_AT, _COUNTED_AT), Image.Resampling.BILINEAR)
        return cls(of_picture(np.asarray(small), spec, ab_range), spec, ab_range)

    @classmethod
    def from_colors(cls, colors: Sequence[str], weights: Sequence[float] | None = None) -> "Palette":
        """Counts the palette of a picture that has these colors.

        Args:
          colors: as in CSS, such as `#5a7a3a` or `teal`.
          weights: how much of each, at least 0; the same of all where None.

        Raises UserError for an unknown color, and for weights that are not one number for each color.
        """
        return cls._from_ab(np.array([parse_color(color) for color in colors]).reshape(-1, 2), weights)

    @classmethod
    def _from_ab(cls, ab: np.ndarray, weights: Sequence[float] | np.ndarray | None) -> "Palette":
        w = np.ones(len(ab)) if weights is None else np.asarray(weights, np.float64)
        if w.shape != (len(ab),) or not np.isfinite(w).all() or (w < 0).any() or not w.any():
            raise UserError(
                f"{len(ab)} colors have as many weights, of at least 0 and not all 0: give a number for each color."
            )
        return cls(count_colors(ab, w))

    @classmethod
    def mean(cls, palettes: "Sequence[Palette]", weights: Sequence[float] | None = None) -> "Palette":
        """Returns the mean of palettes, counted as the first one, weighted where weights are given."""
        first = palettes[0]
        w = np.ones(len(palettes)) if weights is None else np.asarray(weights, np.float64)
        if not np.isfinite(w).all() or (w < 0).any() or not w.any():
            raise UserError("the weights of palettes are at least 0, and not all of them are 0.")
        w = w / w.max()  # so that their sum is finite
        shares = [palette.counted_as(first.spec, first.ab_range).shares.astype(np.float64) for palette in palettes]
        return first._with(np.asarray(sum(x * h for x, h in zip(w / w.sum(), shares, strict=True))))

    def _with(self, shares: np.ndarray) -> "Palette":
        return Palette(shares, self.spec, self.ab_range)

    def counted_as(self, spec: PaletteSpec, ab_range: float = AB_RANGE) -> "Palette":
        """Returns the palette of the same colors, counted in another way, such as that of a model's training."""
        if (spec, ab_range) == (self.spec, self.ab_range):
            return self
        return Palette(count_colors(*self._colors, spec, ab_range), spec, ab_range)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Palette)
            and (self.spec, self.ab_range) == (other.spec, other.ab_range)
            and np.array_equal(self.shares, other.shares)
        )

    def __hash__(self) -> int:
        return hash((self.shares.tobytes(), self.spec, self.ab_range))

    def __repr__(self) -> str:
        return f"Palette({', '.join(f'{s.color} {s.share:.0%}' for s in self.swatches(5))})"

    # ------------------------------------------------------------------------------------------------------- edits

    @cached_property
    def _colors(self) -> tuple[np.ndarray, np.ndarray]:
        return color_shares(self.shares, self.spec, self.ab_range)

    def _counted(self, colors: np.ndarray, weights: np.ndarray) -> "Palette":
        return self._with(count_colors(colors, weights, self.spec, self.ab_range))

    def mix(self, other: "Palette", share: float) -> "Palette":
        """Returns a palette with a `share`, in [0, 1], of the other's colors and 1 - share of its own.

        It is the palette of a picture of which that share has the other's colors: red and blue become red beside
        blue, and not purple, as on the way of a transport from one to the other.
        """
        if not 0 <= share <= 1:
            raise UserError(f"the share of a mixture is from 0 to 1, not {share:g}.")
        return Palette.mean([self, other], [1 - share, share])

    def shift(self, hue: float = 0.0, chroma: float = 1.0, temperature: float = 0.0) -> "Palette":
        """Returns the palette with all colors moved.

        Args:
          hue: degrees, from red towards yellow.
          chroma: times as colorful; 0 is gray.
          temperature: Lab units towards the white of warm light (D50 lies at 17.9), below 0 towards cool light.

        Colors that leave the gamut of sRGB lose chroma.
        """
        if not all(map(math.isfinite, (hue, chroma, temperature))) or chroma < 0:
            raise UserError("a shift has a hue in degrees, a chroma of at least 0 and a temperature in Lab units.")
        if (hue, chroma, temperature) == (0.0, 1.0, 0.0):
            return self
        colors, shares = self._colors
        return self._counted(edits.shift(colors, hue, chroma, temperature), shares)

    def boost(self, color: str, factor: float, spread: float = edits.SPREAD) -> "Palette":
        """Returns the palette with `factor` times as much of a color, in proportion to the others.

        Args:
          color: as in CSS. Only what is there can become more: `mix` brings other colors.
          factor: above 0; below 1 the color becomes less.
          spread: how far, in units of CIE94, colors are counted as this one.
        """
        if not (0 < factor < math.inf and 0 < spread < math.inf):
            raise UserError(f"a boost has a factor and a spread above 0, not {factor:g} and {spread:g}.")
        ab = parse_color(color)
        if factor == 1:
            return self
        colors, shares = self._colors
        return self._counted(colors, edits.boost(colors, shares, ab, factor, spread))

    def remove(self, color: str, spread: float = edits.SPREAD) -> "Palette":
        """Returns the palette without a color: what has it goes to neighboring hues of the same chroma.

        Neighbors that the palette has are preferred, so that grass becomes the yellow of the straw beside it, and not
        gray. Arguments as of `boost`.
        """
        if not 0 < spread < math.inf:
            raise UserError(f"the spread of what is removed is above 0, not {spread:g}.")
        colors, shares = self._colors
        return self._counted(colors, edits.remove(colors, shares, parse_color(color), spread))

    # ------------------------------------------------------------------------------------------------------ looking

    @property
    def is_gray(self) -> bool:
        """True where there is hardly any color."""
        return self.distance(Palette.from_colors(["gray"])) < _GRAY

    def counts(self) -> np.ndarray:
        """Returns the palette (K,) as a model takes it: float32, normalized as `spec` says."""
        return self.shares if self.spec.normalization == "sum" else normalized(self.shares, self.spec)

    def distance(self, other: "Palette") -> float:
        """Returns the Hellinger distance, from 0 (the same) to 1 (no color in common)."""
        other = other.counted_as(self.spec, self.ab_range)
        return 0.0 if self == other else float(hellinger(self.shares, other.shares))

    def swatches(self, count: int = 8) -> list[Swatch]:
        """Returns at most `count` colors, the most frequent first, that stand for the palette."""
        return swatches_of(*self._colors, count)

    def draw(self, side: int = 256) -> Image.Image:
        """Draws the ab plane, a to the right and b upwards, and below it the swatches by their shares.

        The plane is the largest with whole pixels for each bin that is at most `side` wide: 256 x 304 in all.
        """
        plane = picture(self.shares, self.spec, cell=max(1, side // self.spec.bins), ab_range=self.ab_range)
        return draw_palette(plane, self.swatches())

    def drawing(self) -> bytes:
        """Returns what `draw` draws as the content of a PNG."""
        content = io.BytesIO()
        self.draw().save(content, "PNG")
        return content.getvalue()

    _repr_png_ = drawing

    # -------------------------------------------------------------------------------------------------------- files

    def save(self, path: "str | PathLike", count: int = 16) -> None:
        """Writes the palette to a file: all of it as .json, `count` swatches as .gpl, .aco, .ase, .act, .txt or .hex.

        A file that exists is replaced. Raises UserError for another suffix, and where it cannot be written.
        """
        write_file(Path(path), self.to_bytes(path, count))

    def to_bytes(self, path: "str | PathLike", count: int = 16) -> bytes:
        """Returns the content of the file that `save` writes. Raises UserError for another suffix."""
        path = Path(path)
        suffix = _suffix(path)
        if suffix == ".json":
            return self.to_json()
        if not 1 <= count <= 256:
            raise UserError(f"a palette has 1 to 256 swatches, not {count}.")
        return write_swatches(self.swatches(count), suffix, path.stem)

    @classmethod
    def load(cls, path: "str | PathLike") -> "Palette":
        """Reads what `save` and the programs of others write. Raises UserError where it is no palette."""
        path = Path(path)
        _suffix(path)
        return cls.from_bytes(read_bounded(path), path)

    @classmethod
    def from_bytes(cls, data: bytes, path: "str | PathLike") -> "Palette":
        """Reads the content of a file of that name as `load` does."""
        path = Path(path)
        suffix = _suffix(path)
        if suffix == ".json":
            return cls._from_json(data, str(path))
        return cls._from_ab(*read_swatches(data, suffix, str(path)))

    def to_json(self) -> bytes:
        """Returns the palette as a JSON file holds it, exactly."""
        shares = [float(f"{share:.9g}") for share in self.shares]  # nine digits are exact
        content = {"generator": _GENERATOR, "ab_range": self.ab_range, **vars(self.spec), "shares": shares}
        return (json.dumps(content) + "\n").encode()

    @classmethod
    def _from_json(cls, data: bytes, name: str) -> "Palette":
        try:
            content: Any = json.loads(data)
            if content["generator"] != _GENERATOR:
                raise KeyError("generator")
            spec = PaletteSpec(**{field: content[field] for field in vars(PaletteSpec())})
            ab_range, shares = float(content["ab_range"]), content["shares"]
            if not _is_possible(spec, ab_range):
                raise ValueError("no such palettes are counted")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise UserError(
                f"{name} is no palette that `palgan palette` wrote: make one with `palgan palette extract`."
            ) from None
        try:
            return cls(shares, spec, ab_range)
        except UserError as error:
            raise UserError(f"{name} is no palette: {error}") from None


def _is_possible(spec: PaletteSpec, ab_range: float) -> bool:
    lengths = (spec.half_range, spec.sigma, ab_range)
    return (
        isinstance(spec.bins, int)
        and 2 <= spec.bins <= 64
        and all(isinstance(x, int | float) and 0 < x < 1e3 for x in lengths)
        and spec.kernel in get_args(Kernel)
        and spec.normalization in get_args(Normalization)
    )


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix != ".json" and suffix not in READERS:
        raise UserError(f"{path} is no name of a palette: let it end in .json, {', '.join(READERS)}.")
    return suffix
