"""The systems that can be measured: a checkpoint of ours, the pictures of any other system, and simple baselines.

A system paints batches. It gets the luminance of photographs and, beside that, only its `inputs`, so that these show
what a number rests on. A checkpoint that predicts palettes has none.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.color import AB_RANGE, bytes_to_lab
from palgan_jax.colorize.jax_network import predict_batch
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.data.decode import read_rgb
from palgan_jax.data.folder import Listing, list_pictures
from palgan_jax.data.protocols import Pictures
from palgan_jax.data.sampling import SIDE, averages, mean_ab
from palgan_jax.errors import UserError
from palgan_jax.evaluation.join import join_batch, join_painting, resize_square
from palgan_jax.evaluation.protocols import first_few, stem
from palgan_jax.evaluation.truth import read_picture
from palgan_jax.palette.histogram import histogram, of_picture
from palgan_jax.palette.spec import PaletteSpec
from palgan_jax.palette.transport import followed
from palgan_jax.util.files import file_sha256

Input = Literal["truth", "partner", "predicted"]
"""An input besides luminance, uint8 (B, S, S, 3): the photograph itself; another photograph of the list; the picture
that the system made of the photograph before."""

Painted = tuple[jax.Array, jax.Array | None]


@dataclass(frozen=True)
class SetToAverage:
    """The photographs of which a baseline takes the mean: the rows of a set, and what the set is called in labels."""

    pictures: Pictures
    rows: Sequence[int]
    name: str

    def read(self, row: int) -> np.ndarray:
        """Reads one, uint8 (H, W, 3)."""
        return read_picture(self.pictures, row, at_least=SIDE)


class System(Protocol):
    """Something that colorizes.

    Attributes:
      label: its name in tables.
      palette: where its palettes come from: "automatic", "truth", "random", "mean" or "none".
      inputs: what it gets besides luminance.
      weights: by name, the SHA-256 of each file that was loaded.
      variables: arrays, for `paint`.
    """

    label: str
    palette: str
    inputs: tuple[Input, ...]
    weights: dict[str, str]
    variables: Any

    def paint(self, variables: Any, luminance: jax.Array, inputs: Mapping[str, jax.Array]) -> Painted:
        """Paints L (B, S, S) in [0, 100]; returns sRGB uint8 (B, S, S, 3), and palettes (B, K) or None.

        `inputs`: uint8 (B, S, S, 3) by the names in `self.inputs`. A pure function of its arguments, to be compiled.
        """
        ...


# ----------------------------------------------------------------------------------------------------------- checkpoint


class Checkpoint:
    """A model of ours, painting as `palgan colorize` does: at the model's own size, colors stretched over the picture.

    palette: "automatic": the predicted one; "truth": the photograph's own; "random": that of another photograph;
    "mean": the same one for all, `mean` (K,).
    Raises UserError for a model that takes no palette and another choice.

    Attributes:
      follows: whether what is painted with a photograph's palette is moved to it, as for people (`palette.transport`);
        False measures the network alone.
    """

    def __init__(
        self,
        colorizer: Colorizer,
        sha256: str,
        palette: str = "automatic",
        label: str = "",
        mean: np.ndarray | None = None,
    ):
        if palette != "automatic" and not colorizer.takes_reference:
            raise UserError(
                f'a model of the kind "{colorizer.config.model}" takes no palette: leave out --palette {palette}.'
            )
        self.colorizer = colorizer
        self.label = label or colorizer.source
        self.palette = palette
        inputs: dict[str, tuple[Input, ...]] = {"truth": ("truth",), "random": ("partner",)}
        self.inputs = inputs.get(palette, ())
        self.weights = {"checkpoint": sha256}
        self.follows = palette != "mean"  # which stands for many pictures
        self._mean = mean
        if mean is not None:
            self.weights["mean palette"] = _sha256_of(mean)
        self.variables = colorizer.variables

    @classmethod
    def load(
        cls, path: str | None, palette: str = "automatic", label: str = "", averaged: SetToAverage | None = None
    ) -> "Checkpoint":
        """Loads the model that `--checkpoint PATH` means; None: the bundled one. Raises UserError for a missing one.

        averaged: the photographs whose mean palette "mean" is.
        """
        from palgan_jax.checkpoint.find import find_weights

        return cls.of(find_weights(path), palette, label, averaged)

    @classmethod
    def of(
        cls, weights: Weights, palette: str = "automatic", label: str = "", averaged: SetToAverage | None = None
    ) -> "Checkpoint":
        """Returns the system that paints with these weights; arguments as of `load`."""
        colorizer, mean = Colorizer(weights), None
        if averaged is not None:
            mean = averages(
                averaged.read, averaged.rows, averaged.pictures.place, resolution=colorizer.resolution,
                spec=colorizer.spec, ab_range=colorizer.config.ab_range,
            ).mean_palette  # fmt: skip
        return cls(colorizer, _sha256(weights), palette, label, mean)

    def paint(self, variables: Any, luminance: jax.Array, inputs: Mapping[str, jax.Array]) -> Painted:
        """Paints as `System.paint` says."""
        source = inputs.get("truth", inputs.get("partner"))
        palette = None if source is None else self.palettes_of(source)
        if self._mean is not None:
            palette = jnp.broadcast_to(self._mean, (len(luminance), len(self._mean)))  # (B, K)
        small = self._small(luminance)
        predicted, ab = self._predict(variables, small, palette)
        if palette is not None and self.follows:
            ab = followed(ab, palette, predicted, self.colorizer.spec, self.colorizer.config.ab_range)
        return join_painting(luminance, small, ab), predicted if palette is None else palette

    def palettes_of(self, rgb: jax.Array) -> jax.Array:
        """Returns the palettes (B, K) of pictures, uint8 (B, S, S, 3), counted as the model's training did."""
        small = resize_square(rgb.astype(jnp.float32), self.colorizer.resolution)
        return of_picture(small, self.colorizer.spec, self.colorizer.config.ab_range)

    def colors(self, variables: Any, luminance: jax.Array) -> jax.Array:
        """Predicts ab (B, R, R, 2), in Lab units, of the L (B, S, S) of photographs; R is the model's own size."""
        return self._predict(variables, self._small(luminance), None)[1]

    def _small(self, luminance: jax.Array) -> jax.Array:
        return resize_square(luminance[..., None], self.colorizer.resolution)[..., 0]  # (B, R, R)

    def _predict(self, variables: Any, small: jax.Array, palette: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        model = self.colorizer
        return predict_batch(model.network, model.spec, model.config.ab_range, variables, small, palette)


def _sha256_of(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def _sha256(weights: Weights) -> str:
    """Returns the SHA-256 of a weights file, or of the names and values of all arrays where they come from a folder."""
    path = Path(weights.path)
    if path.is_file():
        return file_sha256(path)
    digest = hashlib.sha256()
    for name, array in sorted(jax.tree_util.tree_leaves_with_path(weights.variables), key=lambda leaf: str(leaf[0])):
        digest.update(jax.tree_util.keystr(name).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def unmeasurable(system: System, metrics: Collection[str]) -> dict[str, str]:
    """Returns those of `metrics` that cannot be had of a system, and why."""
    if not isinstance(system, Checkpoint):
        reasons = {
            "diversity": "it needs a model that paints with several palettes",
            "size_consistency": "it needs a model that can be given photographs at several sizes",
        }
        return {name: reason for name, reason in reasons.items() if name in metrics}
    if "diversity" in metrics and not system.colorizer.takes_reference:
        return {"diversity": f'a model of the kind "{system.colorizer.config.model}" takes no palettes'}
    return {}


# ---------------------------------------------------------------------------------------------------------- predictions


class Predictions:
    """The pictures that some system made, in a folder, named as their photographs are but for folder and suffix."""

    palette = "none"
    inputs: tuple[Input, ...] = ("predicted",)
    variables: Any = ()

    def __init__(self, folder: str | Path, label: str = ""):
        self._listing: Listing = list_pictures(folder)
        self.label = label or f"pictures of {Path(folder).name or folder}"
        self.weights = {"predictions (names and sizes)": self._listing.digest()}
        self._places: dict[str, list[int]] = {}
        for i in range(len(self._listing)):
            self._places.setdefault(stem(self._listing.picture_name(i)), []).append(i)

    def match(self, names: list[str]) -> None:
        """Checks that there is one prediction for each photograph. Raises UserError, which names the odd ones."""
        root = self._listing.root
        if missing := [name for name in names if stem(name) not in self._places]:
            raise UserError(
                f"{root} has no prediction for {len(missing):,} of {len(names):,} photographs ({first_few(missing)}): "
                "make them too, or take them out of the truth as well."
            )
        if ambiguous := [name for name in names if len(self._places[stem(name)]) > 1]:
            raise UserError(
                f"{root} has more than one prediction for {len(ambiguous):,} photographs ({first_few(ambiguous)}): "
                "leave one of each."
            )
        counts = Counter(map(stem, names))
        if duplicates := [name for name in names if counts[stem(name)] > 1]:
            raise UserError(
                f"{len(duplicates):,} photographs have the name of another one but for folder and suffix "
                f"({first_few(duplicates)}), so that predictions cannot be told apart: rename them."
            )

    def read(self, name: str, size: tuple[int, int], resize: Any, side: int) -> np.ndarray:
        """Returns the prediction for the photograph `name` of size (width, height): uint8 (side, side, 3).

        Its file has that size, or that of the photograph, and is then resized as the photograph is. Raises UserError
        for any other size, where there is no file or more than one, and where it cannot be read.
        """
        self.match([name])
        path = self._listing.root / self._listing.picture_name(self._places[stem(name)][0])
        rgb = read_rgb(path)
        height, width = rgb.shape[:2]
        if (width, height) == (side, side):
            return rgb
        if (width, height) == size:
            return resize(rgb, side)
        raise UserError(
            f"{path} is {width} x {height}, which is neither {side} x {side} nor the {size[0]} x {size[1]} of its "
            "photograph: give predictions of one of these sizes."
        )

    def paint(self, variables: Any, luminance: jax.Array, inputs: Mapping[str, jax.Array]) -> Painted:
        """Paints as `System.paint` says."""
        return inputs["predicted"], None


# ------------------------------------------------------------------------------------------------------------ baselines


@dataclass(frozen=True)
class Uniform:
    """One color everywhere: ab (2,) in Lab units. (0, 0) is a gray picture."""

    label: str
    variables: np.ndarray
    weights: dict[str, str] = field(default_factory=dict)
    palette: str = "none"
    inputs: tuple[Input, ...] = ()

    def paint(self, variables: Any, luminance: jax.Array, inputs: Mapping[str, jax.Array]) -> Painted:
        """Paints as `System.paint` says."""
        return join_batch(luminance, jnp.broadcast_to(variables, (*luminance.shape, 2))), None


@dataclass(frozen=True)
class NearestPalette:
    """The photograph's own colors, given to its pixels by the rank of their luminance.

    This uses the truth's palette and nothing of what the picture shows. The 256 bins of the palette, each with the mean
    color of its pixels, are ordered by mean luminance; from the darkest on, each colors as many pixels as it had. Where
    a network with the truth's palette does better, it has learned something about pictures.
    """

    label: str = "the truth's colors by luminance"
    variables: Any = ()
    weights: dict[str, str] = field(default_factory=dict)
    palette: str = "truth"
    inputs: tuple[Input, ...] = ("truth",)

    def paint(self, variables: Any, luminance: jax.Array, inputs: Mapping[str, jax.Array]) -> Painted:
        """Paints as `System.paint` says."""
        lab = bytes_to_lab(inputs["truth"])
        ab = jax.vmap(_by_luminance)(luminance, lab)
        return join_batch(luminance, ab), histogram(lab[..., 1:] / AB_RANGE)


def _by_luminance(luminance: jax.Array, lab: jax.Array) -> jax.Array:
    """Returns ab (S, S, 2) for L (S, S), of the colors of the truth's Lab (S, S, 3)."""
    spec = PaletteSpec()
    pixels = lab.reshape(-1, 3)  # (P, 3)
    # The nearest bin of each pixel, (P,), then the pixels (K,) and the mean Lab (K, 3) of each bin.
    steps = jnp.round((pixels[:, 1:] / AB_RANGE / spec.half_range + 1) / 2 * (spec.bins - 1)).astype(jnp.int32)
    steps = jnp.clip(steps, 0, spec.bins - 1)
    bins = spec.bins * steps[:, 0] + steps[:, 1]
    count = jnp.zeros(spec.size, jnp.int32).at[bins].add(1)
    means = jnp.zeros((spec.size, 3)).at[bins].add(pixels) / jnp.maximum(count, 1)[:, None]
    # Bins from dark to bright, empty ones last; the pixel of rank r gets the first bin whose last rank is r or more.
    order = jnp.argsort(jnp.where(count > 0, means[:, 0], jnp.inf))
    ends = jnp.cumsum(count[order])
    rank = jnp.argsort(jnp.argsort(luminance.reshape(-1)))  # (P,): stable, so that ties go by place
    return means[order[jnp.searchsorted(ends, rank, side="right")], 1:].reshape(*luminance.shape, 2)


def gray(label: str = "") -> Uniform:
    """Returns the baseline that leaves photographs gray."""
    return Uniform(label or "gray", np.zeros(2, np.float32))


def mean_color(photographs: SetToAverage, label: str = "") -> Uniform:
    """Returns the baseline of one color: the mean of at most 5,000 of these photographs.

    Raises DataStopped where none of them can be read.
    """
    ab = mean_ab(photographs.read, photographs.rows, photographs.pictures.place)
    return Uniform(label or f"the mean color of {photographs.name}", ab, {"mean color": _sha256_of(ab)})
