"""A trained model as something that colorizes pictures."""

import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError
from PIL import Image

from palgan_jax.checkpoint.find import find_weights
from palgan_jax.checkpoint.weights import Weights
from palgan_jax.color import denormalize_lab, normalize_lab
from palgan_jax.colorize.border import find_border, without_border
from palgan_jax.colorize.engines import Engine, OnnxNetwork
from palgan_jax.colorize.files import read_photograph
from palgan_jax.colorize.join import Layer, colors_of, join, join_colors, luminance, squash, with_alpha
from palgan_jax.colorize.metadata import Metadata
from palgan_jax.colorize.painting import Painting, mean_of_references
from palgan_jax.colorize.points import Hints, Spread
from palgan_jax.colorize.regions import Region, mask_of, paint_region, palette_or_reference
from palgan_jax.colorize.result import Result
from palgan_jax.config import from_dict, palette_spec
from palgan_jax.data.file_bytes import read_bytes
from palgan_jax.data.in_memory import Readable, take_picture
from palgan_jax.data.picture import Picture
from palgan_jax.errors import UserError
from palgan_jax.nn import PalGAN
from palgan_jax.nn.build import build_generator
from palgan_jax.nn.fold import fold_spectral_norm
from palgan_jax.nn.regions import Regions
from palgan_jax.palette.edit_words import parse_edits
from palgan_jax.palette.histogram import histogram, of_picture
from palgan_jax.palette.palette import Palette
from palgan_jax.palette.samples import check_samples
from palgan_jax.palette.spec import PaletteSpec


def paint_batch(
    network: PalGAN, ab_range: float, variables: Any, lightness: jax.Array, h: jax.Array | Regions
) -> jax.Array:
    """Paints L (B, R, R) in [0, 100] with palettes (B, K) or those of regions: ab (B, R, R, 2) in Lab units.

    R is any multiple of 64, since no palette is predicted.
    """
    l, _ = normalize_lab(lightness[..., None], ab_range)
    c: Any = network.apply(variables, l, h, method="paint")
    return denormalize_lab(l, c.astype(jnp.float32), ab_range)[..., 1:]


_paint = jax.jit(paint_batch, static_argnums=(0, 1))


def predict_batch(
    network: PalGAN,
    spec: PaletteSpec,
    ab_range: float,
    variables: Any,
    lightness: jax.Array,
    palette: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Predicts colors for L (B, R, R) in [0, 100] and palettes (B, K), or None for the predicted ones.

    Returns the palettes used (B, K) and ab (B, R, R, 2) in Lab units.
    """
    l, _ = normalize_lab(lightness[..., None], ab_range)
    output: Any = network.apply(variables, l, palette, train=False)
    predicted, c = output  # (B, K), (B, R, R, 2)
    c = c.astype(jnp.float32)
    if network.model != "palgan":  # they predict a code: the palette of the painted picture stands for it
        predicted = histogram(c, spec)
    used = predicted if palette is None else palette
    return used, denormalize_lab(l, c, ab_range)[..., 1:]


def predict_palettes(network: PalGAN, ab_range: float, variables: Any, lightness: jax.Array) -> jax.Array:
    """Predicts palettes (B, K) for L (B, R, R) in [0, 100], and paints nothing."""
    l, _ = normalize_lab(lightness[..., None], ab_range)
    predicted: Any = network.apply(variables, l, method=lambda net, l: net.palette_generator(l, False)[0])
    return predicted


# At the top level, so that it is compiled once for all colorizers with networks of one kind and size.
_predict = jax.jit(predict_batch, static_argnums=(0, 1, 2))
_predict_palettes = jax.jit(predict_palettes, static_argnums=(0, 1))
_palette_of = jax.jit(of_picture, static_argnums=(1, 2))


class Options(TypedDict, total=False):
    """What may be asked of a colorizer beside the picture.

    Attributes:
      palette: the palette to paint with, or a file of one; without it, each picture has its predicted one.
      reference: pictures whose colors are taken instead, each with a weight if wanted: `[("a.jpg", 2), "b.jpg"]`.
      edit: edits of the palette, in words: `"shift hue=20; remove #5a7a3a"`.
      points: colors that are given at pixels, x to the right and y downwards: `[((120, 80), "#c03030")]`.
      saturation: 1, the default, leaves the colors; 0 is gray. Given colors stay as they are.
      samples: how many more versions to paint, with palettes that are drawn around this one.
      temperature: how far from it they lie, from 0 to 2; 1 if it is not given.
      seed: which versions.
      regions: parts with palettes of their own, `[(mask, palette), ...]`. A mask is a picture, white or opaque where
        the region is, or an array of bools; a palette is one, a file of one, or a picture whose colors are taken.
      resolution: the side of the square that the network paints, a multiple of 64 up to 1024.
      paint_border: True paints the border of a print, too, which stays gray otherwise.
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


class Colorizer:
    """Colorizes pictures (method: section 9).

    The network sees a picture's luminance squashed to `resolution` x `resolution`; the colors that it predicts are
    stretched back over the picture, whose luminance stays as it was, at full resolution. The picture's own colors
    have no influence on the result.

    Attributes:
      config: the config that the model was trained with.
      step: the training step of the weights.
      source: where they come from, in words.
      resolution: the side of the square that the network sees, pixels.
      spec: how the model's palettes are counted.
      network, variables: the model itself, for `predict_batch`.
      engine: what runs it to predict. Repainting is JAX's.
    """

    def __init__(self, weights: Weights, engine: Engine = "jax") -> None:
        """Raises UserError where the variables are not those of the config's network."""
        self.engine: Engine = engine
        self.config: Any = from_dict(weights.config)
        self.step = weights.step
        self.source = weights.source
        self.resolution = int(self.config.resolution)
        self.spec = palette_spec(self.config)
        # A network without batch norm, say, has no such collection, and parts that only train are not asked for.
        variables = {name: tree for name, tree in weights.variables.items() if tree}
        try:
            self.network, folded = fold_spectral_norm(build_generator(self.config), variables)
            self.variables: Any = jax.device_put(folded)
            self._onnx = OnnxNetwork(weights) if engine == "onnx" else None
            if self._onnx is not None:
                return
            lightness = jax.ShapeDtypeStruct((1, self.resolution, self.resolution), jnp.float32)
            _predict.eval_shape(self.network, self.spec, self.config.ab_range, self.variables, lightness, None)
        except (FlaxError, AttributeError, LookupError, TypeError, ValueError):
            # The shapes of all variables take as long to make as the rest of a start: only where something is wrong.
            if misfit := self._misfit(variables):
                raise misfit from None
            raise

    @classmethod
    def load(cls, checkpoint: str | Path | None = None, engine: Engine = "jax") -> "Colorizer":
        """Loads a model.

        Args:
          checkpoint: a run's folder, a weights file, hf:OWNER/NAME (with @REVISION or without) for a model on the
            Hugging Face Hub, or None or "bundled" for that which comes with the package.
          engine: what runs it.

        Raises UserError where it cannot be loaded.
        """
        return cls(find_weights(None if checkpoint == "bundled" else checkpoint), engine)

    @property
    def takes_reference(self) -> bool:
        """Returns True where the model paints with a palette, so that another picture's can be used."""
        return self.config.model == "palgan"

    def _check_takes_palette(self) -> None:
        if not self.takes_reference:
            raise UserError(
                f'a model of the kind "{self.config.model}" takes no palette: leave palettes, regions and the '
                "resolution out."
            )

    def _misfit(self, variables: Mapping[str, Any]) -> UserError | None:
        """Returns the error that names the first array that the network does not have so; None where all fit."""
        from palgan_jax.checkpoint.compatibility import shapes

        l = jax.ShapeDtypeStruct((1, self.resolution, self.resolution, 1), jnp.float32)
        network = build_generator(self.config)
        expected = shapes(jax.eval_shape(partial(network.init, jax.random.key(0)), l))
        actual = shapes(variables)
        for name, shape in expected.items():
            if actual.get(name) != shape:
                problem = f"of shape {actual[name]} instead of {shape}" if name in actual else "missing"
                return UserError(
                    f"the weights ({self.source}) do not fit the network that their own config describes, "
                    f"since {name} is {problem}: name another checkpoint."
                )
        return None

    def repaint(self, lightness: np.ndarray, h: np.ndarray | Regions, size: int | None = None) -> np.ndarray:
        """Paints an L (H, W) in [0, 100] with a palette that is known, at any size.

        Args:
          lightness: the picture's luminance.
          h: a palette (K,), such as `predict` returns, or regions of a batch of one.
          size: the side of the square that the network sees, a multiple of 64; None for `resolution`.

        Returns ab (size, size, 2), Lab units. Raises UserError for a model that takes no palette.
        """
        self._check_takes_palette()
        palettes = h if isinstance(h, Regions) else np.asarray(h, np.float32)[None]
        small = squash(lightness, size or self.resolution)
        return np.asarray(_paint(self.network, self.config.ab_range, self.variables, small[None], palettes))[0]

    def predict(self, lightness: np.ndarray, palette: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Predicts the colors for an L (H, W) in [0, 100].

        Returns the palette (K,) that was used, the predicted one where `palette` is None, and ab (R, R, 2) in Lab
        units, which covers the picture whatever its shape. Raises UserError for a palette and a model that takes none.
        """
        if palette is not None:
            self._check_takes_palette()
            palette = np.asarray(palette, np.float32)
            if palette.shape != (self.spec.size,):
                raise ValueError(f"a palette of shape ({self.spec.size},) was expected, not {palette.shape}")
        small = squash(lightness, self.resolution)
        batch = None if palette is None else palette[None]
        if self._onnx is not None:
            used, ab = self._onnx.predict(small[None], batch)
        else:
            used, ab = _predict(self.network, self.spec, self.config.ab_range, self.variables, small[None], batch)
        if not np.isfinite(ab).all():
            raise UserError(
                f"the weights ({self.source}) paint with numbers that are not finite: name another checkpoint."
            )
        return np.asarray(used)[0], np.asarray(ab)[0]

    def predict_palette(self, lightness: np.ndarray) -> Palette:
        """Predicts the palette for an L (H, W) in [0, 100]. Raises UserError for a model that has none."""
        self._check_takes_palette()
        small = squash(lightness, self.resolution)
        if self._onnx is not None:
            h, _ = self._onnx.predict(small[None], None)
        else:
            h = _predict_palettes(self.network, self.config.ab_range, self.variables, small[None])
        return Palette(np.asarray(h)[0], self.spec, self.config.ab_range)

    def predict_palette_of(self, picture: Readable) -> Palette:
        """Predicts the palette of a picture, without its border if it is a print.

        Raises UserError where it cannot be read, or the model has no palettes.
        """
        return self.predict_palette(without_border(luminance(take_picture(picture).on_white())))

    def paint(
        self,
        picture: Picture,
        painting: Painting = Painting(),
        deep: bool = False,
        turn: AbstractContextManager | None = None,
    ) -> Result:
        """Paints a picture.

        Args:
          picture: the picture; of its colors only the luminance counts.
          painting: how.
          deep: whether its 16 bits are kept.
          turn: held while the model predicts, which one picture at a time does best.

        The border of a print is not looked for where colors are given at pixels.

        Raises UserError for a palette and a model that takes none, for points outside of the picture, and for a mask
        of a region that has another shape.
        """
        deep = deep and picture.pixels.dtype == np.uint16
        lightness = luminance(picture.pixels)
        seen = lightness if picture.alpha is None else luminance(picture.on_white())
        height, width = seen.shape
        spread = None if painting.hints is None else Spread(lightness, painting.hints)
        border = None if painting.paint_border or spread is not None else find_border(seen)
        place = np.s_[:, :] if border is None else border.place(height, width)
        regions = [region.within(height, width, place) for region in painting.regions]
        with turn or nullcontext():
            palette, ab, layers = self._colors(np.ascontiguousarray(seen[place]), painting, regions, spread)
        if border is None:
            colors = colors_of(lightness, ab, layers) if spread is None else spread.colors(ab, layers)
            pixels = join_colors(colors, deep)
        else:
            layers.append(Layer(np.zeros_like(ab), np.ascontiguousarray(border.mask(height, width)[place])))
            pixels = join(lightness, np.zeros_like(ab), deep)
            pixels[place] = join(np.ascontiguousarray(lightness[place]), ab, deep, layers)
        return Result(with_alpha(pixels, picture), palette, ab)

    def _colors(
        self, lightness: np.ndarray, painting: Painting, regions: Sequence[Region], spread: Spread | None
    ) -> tuple[Palette, np.ndarray, list[Layer]]:
        """Paints the L (H, W) of a photograph.

        Returns the palette that was used, ab (R, R, 2), and a layer for each region, whose masks are (H, W).
        """
        kind = self.spec, self.config.ab_range
        size = painting.resolution or self.resolution
        palette = painting.palette_for(lambda: self.predict_palette(lightness))
        if spread is not None and self.takes_reference:
            palette = spread.moved(palette or self.predict_palette(lightness))
        if palette is not None:
            palette = palette.counted_as(*kind)
        used, ab = self.predict(lightness, None if palette is None else palette.counts())
        if size != self.resolution:
            ab = self.repaint(lightness, used, size)
        layers = []
        for region in regions:
            counted = replace(region, palette=region.palette.counted_as(*kind))
            layer = paint_region(counted, lightness, used, size, self.repaint)
            layers.append(layer._replace(ab=painting.saturation * layer.ab))
        return palette or Palette(used, *kind), painting.saturation * ab, layers

    def paint_small(
        self, lightness: np.ndarray, painting: Painting, turn: AbstractContextManager | None = None
    ) -> tuple[Palette, np.ndarray]:
        """Paints an L (H, W) in [0, 100], border and all: returns the palette and ab (R, R, 2), Lab units.

        Regions and hints of the painting are left aside. Args and errors are those of `paint`.
        """
        with turn or nullcontext():
            palette, ab, _ = self._colors(lightness, painting, (), None)
        return palette, ab

    @overload
    def __call__(self, picture: Readable, **options: Unpack[Options]) -> Result: ...

    @overload
    def __call__(self, picture: Sequence[Readable], **options: Unpack[Options]) -> list[Result]: ...

    def __call__(self, picture: Readable | Sequence[Readable], **options: Unpack[Options]) -> Result | list[Result]:
        """Colorizes a picture, or each of several, of any sizes: nothing is compiled anew for another size.

        Args:
          picture: a file, a picture of Pillow, an array (H, W) or (H, W, 1 to 4), or a sequence of these.
          options: see `Options`.

        Returns a result, or a list of them. Raises UserError, one sentence, where something cannot be read, and where
        options contradict each other; warns where a reference is gray.
        """
        painting = self._painting(options)
        samples = options.get("samples", 0)
        check_samples(samples, painting.temperature)
        if isinstance(picture, Sequence) and not isinstance(picture, str):
            return [self._colorize(one, painting, samples) for one in picture]
        return self._colorize(picture, painting, samples)  # type: ignore[arg-type]

    def _painting(self, options: Options) -> Painting:
        palette = options.get("palette")
        if palette is not None and not isinstance(palette, Palette):
            palette = Palette.load(palette)
        if references := _weighted(options.get("reference", ())):
            if palette is not None:
                raise UserError("a palette and references were given: leave one out, or mix them with Palette.mix.")
            named = [(_name(source), Palette.of(source, self.spec, self.config.ab_range)) for source, _ in references]
            palette, notes = mean_of_references(named, [weight for _, weight in references])
            for note in notes:
                warnings.warn(note, stacklevel=3)
        edit = options.get("edit")
        kind = self.spec, self.config.ab_range
        regions = []
        for i, (mask, source) in enumerate(options.get("regions", ())):
            palette_of_region = source if isinstance(source, Palette) else palette_or_reference(source, *kind)
            regions.append(Region(mask_of(_mask_picture(mask), f"mask {i + 1}"), palette_of_region, f"mask {i + 1}"))
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
        )

    def _colorize(self, source: Readable, painting: Painting, samples: int) -> Result:
        picture, metadata = _read(source)
        results = [self.paint(picture, replace(painting, sample=i), deep=True) for i in range(samples + 1)]
        first, *others = [replace(result, metadata=metadata) for result in results]
        return replace(first, samples=tuple(others))

    def colorize(self, rgb: np.ndarray, palette: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Colorizes a picture.

        Args:
          rgb: sRGB uint8 (H, W, 3); only its luminance is used.
          palette: the palette (K,) to paint with, such as `palette_of` another picture; None for the predicted one.

        Returns the picture, uint8 (H, W, 3), and the palette (K,) that was used.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[-1] != 3:
            raise ValueError(f"a picture of uint8 (H, W, 3) was expected, not {rgb.dtype} {rgb.shape}")
        lightness = luminance(rgb)
        used, ab = self.predict(lightness, palette)
        return join(lightness, ab), used

    def palette_of(self, rgb: np.ndarray) -> np.ndarray:
        """Returns the palette (K,) of a picture, uint8 (H, W, 3), as training counted it. A gray one is allowed."""
        size = (self.resolution, self.resolution)
        small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))
        return np.asarray(_palette_of(small, self.spec, self.config.ab_range))


def _read(source: Readable) -> tuple[Picture, Metadata | None]:
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
    listed: Sequence[Any] = reference if several else [reference]  # type: ignore[assignment]
    return [one if isinstance(one, tuple) else (one, 1.0) for one in listed]


def _name(source: Readable) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "the reference"
