"""Measures whether palettes of old film are predicted better where photographs rendered as old film were learned from.

    python -m comparisons.old_film TRAIN VAL SAMPLES [--checkpoint PATH ...]

TRAIN, VAL and SAMPLES are folders of photographs. Palettes are regressed on features of ImageNet's encoder, which stays
as it is, as in `comparisons.palette_prediction` ("roots"). Each photograph of TRAIN stands there whole, and as a crop
with changed tones. Rows differ in what is learned from besides, as many pictures again: nothing, other crops and tones,
the same with grain, blur and JPEG, or the same on film as `data.film_share` makes it (`palgan_jax/training/film.py`);
and, of the last two, the crops alone. Film that is measured on is blind to red, too, and has been a JPEG.

Told are the Hellinger distance from the truth's palette, over TRAIN with each third predicted from the other two, and
for VAL and SAMPLES that distance, the mean distance of ab from the truth's in what the bundled G paints with the
palettes, colorfulness, and PSNR in dB: of pictures as they are, and on film. Behind each stands what it is over the row
that learned from nothing besides, paired, with half of the 95 % interval.

With --checkpoint, nothing is learned and TRAIN is not read: rows are those of trained models (a run's folder, a
checkpoint's, or a file of weights), of their own palettes and paintings, over those of the bundled model.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from comparisons.figures import half_interval, photographs
from comparisons.palette_prediction import (
    FOLDS,
    WAYS,
    Fit,
    crops,
    figures_of_painting,
    make_features,
    palettes_of,
    parser_of_folders,
    whole,
)
from palgan_jax import Colorizer
from palgan_jax.color import (
    AB_RANGE,
    LIGHT_OF_RGB,
    lightness_to_srgb,
    linear_to_srgb,
    rgb_to_bytes,
    srgb_to_linear,
)
from palgan_jax.colorize.join import join, luminance
from palgan_jax.data.device import lab_batch
from palgan_jax.palette.histogram import hellinger
from palgan_jax.palette.spec import PaletteSpec
from palgan_jax.pretrained.load import load_efficientnet_lite0
from palgan_jax.training.film import BLUE, BLUR, GRAIN, RED, partly_on_film, weights_of_rgb

ROOTS = ("roots, linear", "roots, kernel")


def film_weights(rng: np.random.Generator) -> np.ndarray:
    """Draws the weights (3,) of linear R, G and B in the gray of a film."""
    return np.array(weights_of_rgb(rng.uniform(*RED), rng.uniform(*BLUE)))


def film_gray(rgb: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the gray of a picture, uint8 (H, W, 3), by weights of linear light, with blur, grain and JPEG's traces.

    Its three channels are equal: uint8 (H, W, 3).
    """
    light = srgb_to_linear(rgb.astype(np.float32) / 255) @ weights.astype(np.float32)
    gray = linear_to_srgb(cv2.GaussianBlur(light, (0, 0), rng.uniform(*BLUR)))
    grain = cv2.GaussianBlur(rng.normal(size=gray.shape).astype(np.float32), (0, 0), 0.7)
    grainy = rgb_to_bytes(gray + rng.uniform(*GRAIN) * grain / grain.std())
    _, file = cv2.imencode(".jpg", grainy, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))])
    return np.repeat(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE)[..., None], 3, axis=-1)


def on_film(pictures: np.ndarray, seed: int, blind: bool = True) -> np.ndarray:
    """Returns pictures, uint8 (N, H, W, 3), as films of so many kinds show them; all colors alike if not `blind`."""
    rng = np.random.default_rng(seed)
    return np.stack([film_gray(rgb, film_weights(rng) if blind else LIGHT_OF_RGB, rng) for rgb in pictures])


def as_trained(pictures: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the gray of pictures, uint8 (N, H, W, 3), on film as training makes it, and the palettes (N, K)."""
    spec, kinds = PaletteSpec(), np.random.default_rng(seed).uniform(size=(len(pictures), 5)).astype(np.float32)

    @jax.jit
    def on_one(rgb: jax.Array, kind: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        batch = lab_batch(rgb[None], spec, AB_RANGE)
        batch = partly_on_film(batch, kind[None], key[None], 1, spec, AB_RANGE)
        gray = rgb_to_bytes(lightness_to_srgb(100 * batch["l"][0] + 50))
        return jnp.repeat(gray, 3, axis=-1), batch["h"][0]

    pairs = [
        on_one(*one) for one in zip(pictures, kinds, jax.random.split(jax.random.key(seed), len(kinds)), strict=True)
    ]
    return np.stack([gray for gray, _ in pairs]), np.stack([h for _, h in pairs])


class Table:
    """The photographs that are measured on, and rows of what is painted with palettes that were predicted for them.

    Attributes:
      versions: (folder, kind) -> its photographs as they are or on film, uint8 (N, H, W, 3).
    """

    def __init__(self, **folders: Path) -> None:
        self._sets = {name: whole(photographs(folder, 1)) for name, folder in folders.items()}
        self._truths = {name: palettes_of(rgb) for name, rgb in self._sets.items()}
        self._first: dict[tuple[str, str, str], np.ndarray] = {}
        self.versions = {
            (name, kind): pictures
            for name, rgb in self._sets.items()
            for kind, pictures in {"as they are": rgb, "on film": on_film(rgb, 4)}.items()
        }

    def tell(self, way: str, painter: Colorizer, palettes: Mapping[tuple[str, str], np.ndarray]) -> None:
        """Prints the figures of palettes for `versions`, and those over the figures of the way's first call, paired."""
        for (name, kind), predicted in palettes.items():
            pictures = zip(self._sets[name], self.versions[name, kind], predicted, self._truths[name], strict=True)
            rows = np.array([_figures(painter, *one) for one in pictures])
            over = rows - self._first.setdefault((way, name, kind), rows)
            differences = (f"{x:+.4f} +- {y:.4f}" for x, y in zip(over.mean(0), half_interval(over), strict=True))
            print(f"  {name:8} {kind:12}", *(f"{x:.4f}" for x in rows.mean(0)), *differences, flush=True)

    def tell_own(self, way: str, model: Colorizer) -> None:
        """Prints the figures of a model's own palettes."""
        print(f"{way}, {model.source}")
        own = {key: np.stack([model.predict(luminance(rgb))[0] for rgb in rgbs]) for key, rgbs in self.versions.items()}
        self.tell(way, model, own)


def _figures(
    painter: Colorizer, rgb: np.ndarray, gray: np.ndarray, palette: np.ndarray, truth: np.ndarray
) -> tuple[float, ...]:
    """Returns the palette's distance, and the ab error, colorfulness and PSNR of what is painted with it."""
    light = luminance(gray)
    painted = join(light, np.ascontiguousarray(painter.predict(light, palette)[1], np.float32))
    psnr, error, strength = figures_of_painting(painted, rgb)
    return hellinger(palette, truth), error, strength, psnr


def tell_learned(paths: list[Path], colorizer: Colorizer, table: Table) -> None:
    """Prints what is learned from photographs, and from others besides."""
    features = make_features(colorizer, load_efficientnet_lite0())
    draw = np.random.default_rng(0)
    fold = draw.permutation(len(paths)) % FOLDS
    tones = [draw.uniform(size=(len(paths), 3)).astype(np.float32) for _ in range(3)]
    first, second, third = whole(paths), crops(paths), crops(paths, 1)
    h = np.stack([palettes_of(first), palettes_of(second)])
    x = np.stack([features(first), features(second, tones[0])])
    pairs = {
        "crops, tones": ((first, h[0]), (third, palettes_of(third))),
        "grain": ((on_film(first, 1, False), h[0]), (on_film(third, 2, False), palettes_of(third))),
        "film": (as_trained(first, 1), as_trained(third, 2)),
    }
    targets = {row: np.stack([palette for _, palette in pair]) for row, pair in pairs.items()}
    besides = {
        row: np.stack([features(rgb, tone) for (rgb, _), tone in zip(pair, tones[1:], strict=True)])
        for row, pair in pairs.items()
    }
    for row in ("grain", "film"):
        for values in (besides, targets):
            values[f"{row}, half of them"] = np.stack([values["crops, tones"][0], values[row][1]])
    inputs_of_first = {"as they are": x[0], "on film": features(on_film(first, 3))}
    inputs = {key: features(pictures) for key, pictures in table.versions.items()}
    for way in ROOTS:
        fit = WAYS[way]
        for row in ("nothing", *besides):
            lessons = np.concatenate([x, besides.get(row, x[:0])]), np.concatenate([h, targets.get(row, h[:0])])

            def fit_part(part: np.ndarray, lessons: tuple[np.ndarray, np.ndarray] = lessons, fit: Fit = fit):
                return fit(*(values[:, part].reshape(-1, values.shape[-1]) for values in lessons))

            cross = {kind: np.zeros_like(h[0]) for kind in inputs_of_first}
            for number in range(FOLDS):
                predict = fit_part(fold != number)
                for kind, values in inputs_of_first.items():
                    cross[kind][fold == number] = predict(values[fold == number])
            predict = fit_part(np.ones(len(paths), bool))
            distances = {kind: float(hellinger(palette, h[0]).mean()) for kind, palette in cross.items()}
            print(f"{way}, {row}", *(f"| thirds, {kind} {distance:.4f}" for kind, distance in distances.items()))
            table.tell(way, colorizer, {key: predict(values) for key, values in inputs.items()})


def main() -> None:
    """Prints the figures."""
    parser = parser_of_folders(__doc__)
    parser.add_argument("--checkpoint", nargs="+", default=[], metavar="PATH")
    args = parser.parse_args()
    bundled = Colorizer.load(engine="jax")
    table = Table(val=args.val, samples=args.samples)
    table.tell_own("own palettes", bundled)
    for checkpoint in args.checkpoint:
        table.tell_own("own palettes", Colorizer.load(checkpoint, engine="jax"))
    if not args.checkpoint:
        tell_learned(photographs(args.train, 1), bundled, table)


if __name__ == "__main__":
    main()
