"""Measures ways to predict palettes from features of an encoder that stays as it is, beside the bundled model's.

    python -m comparisons.palette_prediction TRAIN VAL SAMPLES

TRAIN, VAL and SAMPLES are folders of photographs. The features are those of the picture as a whole that the bundled
model's palette layer sees: of the bundled encoder, which was trained on TRAIN, and of the encoder as ImageNet left it.
Each photograph of TRAIN stands twice: whole, and as a crop with changed tones.

"softmax" is a dense layer with a softmax, as in the model but for the cells, trained on the Hellinger loss with dropout
and mixup (Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018). "roots" is a regression of the roots of
palettes by ridge, linear or with a Gaussian kernel: the squared Hellinger distance is a squared error of roots. "half"
is the mean of such a palette and of the bundled model's; "mirrored" is the mean with that of the mirrored picture.

A row has the Hellinger distance from the truth's palette over TRAIN, each third predicted from the other two (which
says something of ImageNet's encoder alone), and, for VAL and SAMPLES, that distance, PSNR in dB, the distance of ab and
colorfulness of what the bundled G paints with the palettes; then the first two over the bundled model's, paired, with
half of the 95 % interval. "Enlarged" is the bundled model's palette of the picture at 320 x 320, where things are as
large as in the crops that the model was trained on (Touvron et al., "Fixing the train-test resolution discrepancy",
2019). The last lines have the distances of VAL and SAMPLES where fewer photographs of TRAIN are learned from ("roots,
kernel", ImageNet's encoder), as means over draws of them.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from comparisons.figures import half_interval, photographs
from palgan_jax import Colorizer
from palgan_jax.color import bytes_to_lab, colorfulness, from_bytes
from palgan_jax.colorize.join import join, luminance
from palgan_jax.data.crop import CropRule, squash, take_crop
from palgan_jax.data.decode import read_rgb
from palgan_jax.palette.histogram import hellinger, of_picture
from palgan_jax.pretrained.load import load_efficientnet_lite0
from palgan_jax.training.augmentation import jittered

SIDE, FOLDS, BATCH = 256, 3, 8
ENLARGED = 320
FEWER, DRAWS = (60, 122, 244, 365), 8
LEVELS = (1280, 24, 40, 112, 320, 16)  # features of the head, of four levels and of the luminance
Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]
"""fit(features (N, F), palettes (N, K)) -> predict(features (M, F)) -> palettes (M, K)."""


def crops(paths: list[Path], seed: int = 0) -> np.ndarray:
    """Returns a random part of each photograph, uint8 (N, SIDE, SIDE, 3)."""
    out, rule = np.zeros((len(paths), SIDE, SIDE, 3), np.uint8), CropRule(0.3)
    for path, draw, square in zip(paths, rule.draws(seed, 0, len(paths)), out, strict=True):
        rgb = read_rgb(path)
        take_crop(rgb, rule.box(draw, rgb.shape[1], rgb.shape[0]), draw.mirrored, square)
    return out


def whole(paths: list[Path]) -> np.ndarray:
    """Returns the photographs as squares, uint8 (N, SIDE, SIDE, 3)."""
    return np.stack([squash(read_rgb(path), SIDE) for path in paths])


def palettes_of(pictures: np.ndarray) -> np.ndarray:
    """Returns the palettes (N, K) of pictures, uint8 (N, H, W, 3)."""
    return np.concatenate([of_picture(rgb[None]) for rgb in pictures])


def figures_of_painting(painting: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Returns PSNR in dB, the mean distance of ab, and the painting's colorfulness, of uint8 (H, W, 3) each."""
    psnr = 10 * np.log10(255**2 / np.mean((painting.astype(float) - truth) ** 2))
    error = np.linalg.norm((bytes_to_lab(painting) - bytes_to_lab(truth))[..., 1:], axis=-1).mean()
    return float(psnr), float(error), float(colorfulness(painting[None].astype(np.float32))[0])


def make_features(colorizer: Colorizer, encoder: Any) -> Callable[..., np.ndarray]:
    """Returns features(rgb (N, S, S, 3), tones (N, 3) or None) -> (N, F), from the bundled encoder or another."""
    part = colorizer.variables["params"]["palette_generator"]
    params = {**colorizer.variables["params"], "palette_generator": {**part, "encoder": encoder or part["encoder"]}}
    variables = {**colorizer.variables, "params": params}

    @jax.jit
    def of_batch(rgb: jax.Array, tones: jax.Array) -> Any:
        l = jittered(from_bytes(rgb)[0], tones, 1.0)
        _, captured = colorizer.network.apply(
            variables, l, method=lambda net, l: net.palette_generator(l, False)[0],
            capture_intermediates=lambda module, _: module.name == "picture_features", mutable=["intermediates"],
        )  # fmt: skip
        return captured["intermediates"]["palette_generator"]["picture_features"]["__call__"][0]

    def features(rgb: np.ndarray, tones: np.ndarray | None = None) -> np.ndarray:
        same = np.tile(np.float32([0.5, 0.625, 0.5]), (len(rgb), 1))  # leaves the tones as they are
        filled = np.arange(-(-len(rgb) // BATCH) * BATCH).clip(max=len(rgb) - 1)
        rgb, tones = rgb[filled], (same if tones is None else tones)[filled]
        batches = [of_batch(rgb[i : i + BATCH], tones[i : i + BATCH]) for i in range(0, len(filled), BATCH)]
        return np.concatenate(batches)[: filled[-1] + 1]

    return features


def standardize(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what gives features the mean 0 and the deviation 1 that they have in x (N, F)."""
    mean, deviation = x.mean(0), np.sqrt(x.var(0) + 1e-3)
    return lambda z: (z - mean) / deviation


def roots(width: float | None, ridge: float) -> Fit:
    """Regresses roots of palettes: linear where `width` is None. Each level of features counts as much as another."""
    scale = np.concatenate([np.full(size, size**-0.5, np.float32) for size in LEVELS])

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        products = a @ b.T
        if width is None:
            return products
        return np.exp((2 * products - (a**2).sum(1)[:, None] - (b**2).sum(1)) / (2 * width**2))

    def fit(x: np.ndarray, h: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        place = standardize(x)
        known, mean = place(x) * scale, np.sqrt(h).mean(0)
        weights = np.linalg.solve(kernel(known, known) + ridge * len(x) * np.eye(len(x)), np.sqrt(h) - mean)

        def predict(z: np.ndarray) -> np.ndarray:
            squares = np.maximum(mean + kernel(place(z) * scale, known) @ weights, 1e-4) ** 2
            return squares / squares.sum(1, keepdims=True)

        return predict

    return fit


def softmax(dropout: float, mixup: float, steps: int = 250) -> Fit:
    """Trains a dense layer; `mixup` is the parameter of the Beta distribution, 0 for none."""

    @jax.jit
    def trained(x: jax.Array, h: jax.Array) -> Any:
        rate = optax.cosine_decay_schedule(1e-3, steps)
        optimizer = optax.adamw(rate, weight_decay=0.01, mask={"kernel": True, "bias": False})
        first = {"kernel": jnp.zeros((x.shape[1], h.shape[1])), "bias": jnp.log(h.mean(0) + 1e-6)}

        def step(carry: Any, number: jax.Array) -> tuple[Any, None]:
            params, state, average = carry
            chosen, dropped, mixed = jax.random.split(jax.random.fold_in(jax.random.key(0), number), 3)
            rows = jax.random.randint(chosen, (64,), 0, len(x))
            inputs, targets = x[rows], h[rows]
            if mixup:
                share = jax.random.beta(mixed, mixup, mixup, (64, 1))
                inputs, targets = (share * one + (1 - share) * jnp.roll(one, 1, 0) for one in (inputs, targets))
            inputs = jnp.where(jax.random.bernoulli(dropped, 1 - dropout, inputs.shape), inputs / (1 - dropout), 0)

            def loss(params: Any) -> jax.Array:
                return jnp.mean(hellinger(jax.nn.softmax(inputs @ params["kernel"] + params["bias"]), targets) ** 2)

            changes, state = optimizer.update(jax.grad(loss)(params), state, params)
            params: Any = optax.apply_updates(params, changes)
            return (params, state, optax.incremental_update(params, average, 0.02)), None

        return jax.lax.scan(step, (first, optimizer.init(first), first), jnp.arange(steps))[0][2]

    def fit(x: np.ndarray, h: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        place = standardize(x)
        average = trained(place(x), h)
        return lambda z: np.asarray(jax.nn.softmax(place(z) @ average["kernel"] + average["bias"]))

    return fit


WAYS: dict[str, Fit] = {
    "softmax, dropout 0.7": softmax(0.7, 0),
    "softmax, dropout 0.9": softmax(0.9, 0),
    "softmax, dropout 0.9, mixup 1": softmax(0.9, 1),
    "roots, linear": roots(None, 0.03),
    "roots, kernel": roots(5**0.5, 0.001),
}


def parser_of_folders(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser of the names of folders of photographs: train, val and samples."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for folder in ("train", "val", "samples"):
        parser.add_argument(folder, type=Path)
    return parser


def main() -> None:
    """Prints the figures."""
    args = parser_of_folders(__doc__).parse_args()
    colorizer = Colorizer.load(engine="jax")
    paths = photographs(args.train, 1)
    versions = whole(paths), crops(paths)
    draw = np.random.default_rng(0)
    tones = None, draw.uniform(size=(len(paths), 3)).astype(np.float32)
    palettes = np.stack([palettes_of(rgb) for rgb in versions])
    fold = draw.permutation(len(paths)) % FOLDS
    sets = {name: whole(photographs(getattr(args, name), 1)) for name in ("val", "samples")}
    truths = {name: palettes_of(rgb) for name, rgb in sets.items()}
    bundled = {name: np.stack([colorizer.predict(luminance(rgb))[0] for rgb in sets[name]]) for name in sets}
    base: dict[str, np.ndarray] = {}

    def tell(way: str, predicted: dict[str, np.ndarray], cross: float | None = None) -> None:
        words = [f"{way:42}", "     " if cross is None else f"{cross:.4f}"]
        for name, h in predicted.items():
            rows = []
            for rgb, one, distance in zip(sets[name], h, hellinger(h, truths[name]), strict=True):
                light = luminance(rgb)
                painted = join(light, np.ascontiguousarray(colorizer.predict(light, one)[1], np.float32))
                rows.append((distance, *figures_of_painting(painted, rgb)))
            table = np.array(rows)
            over = (table - base.setdefault(name, table))[:, :2]
            words.append(f"| {name} " + " ".join(f"{x:.4f}" for x in table.mean(0)))
            words += [f"{x:+.4f} +- {y:.4f}" for x, y in zip(over.mean(0), half_interval(over), strict=True)]
        print(*words, flush=True)

    tell("bundled", bundled)
    for source, encoder in (("bundled", None), ("ImageNet", load_efficientnet_lite0())):
        features = make_features(colorizer, encoder)
        x = np.stack([features(rgb, tone) for rgb, tone in zip(versions, tones, strict=True)])  # (versions, N, F)
        inputs = {name: features(rgb) for name, rgb in sets.items()}

        def fitted(fit: Fit, kept: np.ndarray, x: np.ndarray = x) -> Callable[[np.ndarray], np.ndarray]:
            return fit(x[:, kept].reshape(-1, x.shape[-1]), palettes[:, kept].reshape(-1, palettes.shape[-1]))

        for way, fit in WAYS.items():
            cross = np.zeros_like(palettes[0])
            for number in range(FOLDS if encoder else 0):
                cross[fold == number] = fitted(fit, fold != number)(x[0, fold == number])
            predict = fitted(fit, np.ones(len(paths), bool))
            predicted = {name: predict(inputs[name]) for name in sets}
            distance = float(hellinger(cross, palettes[0]).mean()) if encoder else None
            tell(f"{source}: {way}", predicted, distance)
            if way.startswith("roots"):
                tell(f"{source}: {way}, half", {name: (h + bundled[name]) / 2 for name, h in predicted.items()})
    mirrored = {n: np.stack([colorizer.predict(luminance(rgb[:, ::-1]))[0] for rgb in sets[n]]) for n in sets}
    tell("bundled, mirrored", {name: (h + mirrored[name]) / 2 for name, h in bundled.items()})
    colorizer.resolution = ENLARGED
    enlarged = {n: np.stack([colorizer.predict_palette(luminance(rgb)).shares for rgb in sets[n]]) for n in sets}
    colorizer.resolution = SIDE
    tell("bundled, enlarged", enlarged)
    for count in FEWER:
        learned = [draw.permutation(len(paths)) < count for _ in range(DRAWS)]
        distances = [
            {name: hellinger(predict(inputs[name]), truths[name]).mean() for name in sets}
            for predict in (fitted(WAYS["roots, kernel"], kept) for kept in learned)
        ]
        means = {name: np.mean([one[name] for one in distances]) for name in sets}
        print(f"of {count} photographs", *(f"| {name} {mean:.4f}" for name, mean in means.items()), flush=True)


if __name__ == "__main__":
    main()
