"""A trained model as something that colorizes pictures."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
from PIL import Image

from palgan_jax.checkpoint.find import find_weights
from palgan_jax.checkpoint.weights import Weights
from palgan_jax.colorize.call_options import Options, painting_of, read_picture
from palgan_jax.colorize.engines import Engine, FlaxNetwork, choose_engine, open_network
from palgan_jax.colorize.join import Layer, squash
from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.points import Spread
from palgan_jax.colorize.prepared import PreparedPicture, Subject, View
from palgan_jax.colorize.regions import Region, paint_region
from palgan_jax.colorize.result import Result
from palgan_jax.config import from_dict, palette_spec
from palgan_jax.data.in_memory import Readable, take_picture
from palgan_jax.data.picture import Picture
from palgan_jax.errors import UserError
from palgan_jax.palette.histogram import of_picture
from palgan_jax.palette.palette import Palette
from palgan_jax.palette.regions import Regions
from palgan_jax.palette.samples import check_samples
from palgan_jax.palette.transport import followed


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
      engine: what runs the network.
      network, variables: the Flax module and its arrays, for programs of JAX; only where JAX is the engine.
    """

    def __init__(self, weights: Weights, engine: Engine = "jax") -> None:
        """Raises UserError where the variables are not those of the config's network."""
        self.engine: Engine = engine
        self.config: Any = from_dict(weights.config)
        self.step = weights.step
        self.source = weights.source
        self.resolution = int(self.config.resolution)
        self.spec = palette_spec(self.config)
        self._model = open_network(engine, weights, self.config)
        if isinstance(self._model, FlaxNetwork):
            self.network, self.variables = self._model.network, self._model.variables

    @classmethod
    def load(cls, checkpoint: str | Path | None = None, engine: str = "auto") -> "Colorizer":
        """Loads a model.

        Args:
          checkpoint: a run's folder, a weights file, hf:OWNER/NAME (with @REVISION or without) for a model on the
            Hugging Face Hub, or None or "bundled" for that which comes with the package.
          engine: what runs it: "jax", "onnx" (ONNX Runtime) or "auto", which is ONNX Runtime where it is installed and
            can run the model, unless JAX has an accelerator.

        Raises UserError where it cannot be loaded.
        """
        weights = find_weights(None if checkpoint == "bundled" else checkpoint)
        return cls(weights, choose_engine(engine, weights))

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
        return self._finite(self._model.paint(squash(lightness, size or self.resolution)[None], palettes))[0]

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
        batch = None if palette is None else palette[None]
        used, ab = self._model.predict(squash(lightness, self.resolution)[None], batch)
        return used[0], self._finite(ab)[0]

    def _finite(self, ab: np.ndarray) -> np.ndarray:
        if not np.isfinite(ab).all():
            raise UserError(
                f"the weights ({self.source}) paint with numbers that are not finite: name another checkpoint."
            )
        return ab

    def predict_palette(self, lightness: np.ndarray) -> Palette:
        """Predicts the palette for an L (H, W) in [0, 100]. Raises UserError for a model that has none."""
        self._check_takes_palette()
        h = self._model.predict_palettes(squash(lightness, self.resolution)[None])
        return Palette(h[0], self.spec, self.config.ab_range)

    def predict_palette_of(
        self,
        picture: Readable | Subject,
        restore_contrast: bool = False,
        paint_border: bool = False,
        turn: AbstractContextManager | None = None,
    ) -> Palette:
        """Predicts the palette of a picture.

        Args:
          picture: a file, a picture of Pillow, an array (H, W) or (H, W, 1 to 4), or a subject.
          restore_contrast: whether its contrast is restored first, as for a painting that restores it.
          paint_border: whether the border of a print counts, as for a painting of it; otherwise it is left out.
          turn: that of `paint`.

        Raises UserError where it cannot be read, or the model has no palettes.
        """
        subject = picture if isinstance(picture, Subject) else Subject(take_picture(picture))
        subject = subject.restored if restore_contrast else subject
        square = (subject.whole if paint_border else subject.photograph).square(self.resolution)
        with self._taking(turn):
            return self.predict_palette(square)

    def paint(
        self,
        picture: Picture | Subject,
        painting: Painting = Painting(),
        deep: bool = False,
        turn: AbstractContextManager | None = None,
    ) -> Result:
        """Paints a picture.

        Args:
          picture: the picture; of its colors only the luminance counts. A subject keeps what it learns of it.
          painting: how.
          deep: whether its 16 bits are kept.
          turn: held while the model predicts, if it does best with one picture at a time.

        The border of a print is not looked for where colors are given at pixels.

        Raises UserError for a palette and a model that takes none, for points outside of the picture, and for a mask
        of a region that has another shape.
        """
        return next(self.paint_samples(picture, painting, [painting.sample], deep, turn))

    def paint_samples(
        self,
        picture: Picture | Subject,
        painting: Painting,
        samples: Sequence[int],
        deep: bool = False,
        turn: AbstractContextManager | None = None,
    ) -> Iterator[Result]:
        """Paints versions of a picture, as `paint` does: the painting with each of these numbers as its `sample`."""
        prepared = PreparedPicture(picture if isinstance(picture, Subject) else Subject(picture), painting)
        for sample in samples:
            sample_painting = replace(painting, sample=sample)
            with self._taking(turn):
                palette, ab, layers = self._colors(prepared.view, sample_painting, prepared.regions, prepared.spread)
            yield Result(prepared.joined(ab, layers, deep), palette, ab)

    def _taking(self, turn: AbstractContextManager | None) -> AbstractContextManager:
        return turn if turn is not None and self._model.takes_turns else nullcontext()

    def _colors(
        self, view: View, painting: Painting, regions: Sequence[Region], spread: Spread | None
    ) -> tuple[Palette, np.ndarray, list[Layer]]:
        """Paints what the network sees of a photograph.

        Returns the palette that was used, ab (R, R, 2), and a layer for each region.
        """
        kind = self.spec, self.config.ab_range
        size = painting.resolution or self.resolution
        palette = chosen_palette = painting.palette_for(lambda: self._predicted(view))
        if spread is not None and self.takes_reference:
            palette = spread.moved(palette or self._predicted(view))
        elif size != self.resolution:
            palette = palette or self._predicted(view)
        used_palette, ab = self._painted(view, palette and palette.counted_as(*kind).counts(), size)
        if palette is None:
            palette = view.predicted = Palette(used_palette, *kind)
        else:
            palette = palette.counted_as(*kind)
        # What points move the palette by is theirs, and the rest of the picture keeps its own colors.
        if chosen_palette is not None and painting.follow:
            ab = self._followed(ab, chosen_palette, view)
        layers = []
        for region in regions:
            counted = replace(region, palette=region.palette.counted_as(*kind))
            layer = paint_region(counted, view.square(size), used_palette, self.repaint)
            shares = squash(region.mask.astype(np.float32), size)
            layer = layer._replace(ab=self._followed(layer.ab, region.palette, view, shares))
            layers.append(layer._replace(ab=painting.saturation * layer.ab))
        return palette, painting.saturation * ab, layers

    def _painted(self, view: View, h: np.ndarray | None, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Paints a photograph with a palette (K,), or the predicted one: returns it, and ab (size, size, 2).

        The last painting is kept: while a region, or how colorful all is, changes, it stays the same.
        """
        key, last = (size, b"" if h is None else h.tobytes()), view.last_painting
        if last is None or last[0] != key:
            if h is None or size == self.resolution:
                used_palette, ab = self.predict(view.square(self.resolution), h)
            else:
                used_palette, ab = h, self.repaint(view.square(size), h, size)
            view.last_painting = last = key, used_palette, ab
        return last[1:]

    def _followed(self, ab: np.ndarray, palette: Palette, view: View, weights: np.ndarray | None = None) -> np.ndarray:
        kind = self.spec, self.config.ab_range
        h, predicted = palette.counted_as(*kind).shares, self._predicted(view).shares
        return followed(ab, h, predicted, *kind, weights=weights)

    def _predicted(self, view: View) -> Palette:
        """Returns the palette that is predicted for a photograph, once."""
        if view.predicted is None:
            view.predicted = self.predict_palette(view.square(self.resolution))
        return view.predicted

    def paint_small(
        self, lightness: np.ndarray, painting: Painting, turn: AbstractContextManager | None = None
    ) -> tuple[Palette, np.ndarray]:
        """Paints an L (H, W) in [0, 100], border and all: returns the palette and ab (R, R, 2), Lab units.

        Regions and hints of the painting are left aside. Args and errors are those of `paint`.
        """
        with self._taking(turn):
            palette, ab, _ = self._colors(View(lightness), painting, (), None)
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
        painting = painting_of(options, self.spec, self.config.ab_range)
        samples = options.get("samples", 0)
        check_samples(samples, painting.temperature)
        if isinstance(picture, Sequence) and not isinstance(picture, str):
            return [self._colorize(source, painting, samples) for source in picture]
        return self._colorize(picture, painting, samples)  # type: ignore[arg-type]

    def _colorize(self, source: Readable, painting: Painting, samples: int) -> Result:
        picture, metadata = read_picture(source)
        results = self.paint_samples(picture, painting, range(samples + 1), deep=True)
        first, *sample_results = [replace(result, metadata=metadata) for result in results]
        return replace(first, samples=tuple(sample_results))

    def palette_of(self, rgb: np.ndarray) -> np.ndarray:
        """Returns the palette (K,) of a picture, uint8 (H, W, 3), as training counted it. A gray one is allowed."""
        size = (self.resolution, self.resolution)
        small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))
        return of_picture(small, self.spec, self.config.ab_range)
