"""Measures how paintings follow their palettes, and what else might better a painting without training.

    python -m comparisons.palette_following FOLDER [--every 2] [--checkpoint PATH] [--json FILE]

Every so many-th photograph of FOLDER, squashed to 256 x 256, is painted with the truth's palette, with that of the next
photograph, and automatically: each by the network alone ("alone"), and moved to the palette by `palette.transport`
("moved"). Beside these stand: colors whose mean and covariance become those of the palette's ("affine"; the closed form
of optimal transport between normal colors), a second pass with the palette plus what the first lacked ("again"), means
with the mirrored picture ("mirrored") and with paintings of 192 and 320 pixels ("sizes"), palettes raised to a power
("power"), paler and stronger colors ("times"), and the mean of all predicted palettes for every picture ("common").

A row has the means over photographs of PSNR, in dB, and of the distance of ab from the truth's, the Hellinger distance
of the painting's palette from the one that was asked for, and colorfulness; then PSNR over "alone", paired, with half
of its 95 % interval. `nearer` is the share of photographs whose painting with the palette of the next one, moved to it,
has a palette nearer to that than the automatic painting has.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from comparisons.figures import half_interval, photographs, tell

SIDE = 256
KINDS = ("truth", "foreign", "automatic")


def affine(ab: np.ndarray, colors: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Returns ab (S, S, 2) with the mean and the covariance of colors (N, 2) that weigh (N,)."""
    from scipy.linalg import sqrtm

    flat, ridge = ab.reshape(-1, 2), 4 * np.eye(2)
    mean, target = flat.mean(0), shares @ colors
    covariance, target_covariance = np.cov(flat.T) + ridge, np.cov(colors.T, aweights=shares) + ridge
    root = np.real(sqrtm(covariance))
    back = np.linalg.inv(root)
    matrix = back @ np.real(sqrtm(root @ target_covariance @ root)) @ back
    return ((ab - mean) @ matrix + target).astype(np.float32)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--checkpoint")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    from palgan_jax import Colorizer
    from palgan_jax.color import bytes_to_lab, colorfulness
    from palgan_jax.colorize.join import join, luminance
    from palgan_jax.data.crop import squash
    from palgan_jax.data.decode import read_rgb
    from palgan_jax.palette.color_shares import color_shares
    from palgan_jax.palette.histogram import hellinger, histogram
    from palgan_jax.palette.transport import followed

    colorizer = Colorizer.load(args.checkpoint)
    kind = colorizer.spec, float(colorizer.config.ab_range)
    truths = [squash(read_rgb(path), SIDE) for path in photographs(args.folder, args.every)]
    lights = [luminance(truth) for truth in truths]
    own_palettes = [colorizer.palette_of(truth) for truth in truths]
    predicted = [colorizer.predict(light)[0] for light in lights]
    palettes = {"truth": own_palettes, "foreign": own_palettes[1:] + own_palettes[:1], "automatic": predicted}
    common = np.mean(predicted, axis=0)

    def paint(light: np.ndarray, h: np.ndarray) -> np.ndarray:
        return colorizer.predict(light, h)[1]

    def sized(light: np.ndarray, h: np.ndarray, side: int) -> np.ndarray:
        ab = colorizer.repaint(light, h, side)
        planes = [
            Image.fromarray(plane).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for plane in np.moveaxis(ab, -1, 0)
        ]
        return np.stack([np.asarray(plane) for plane in planes], -1)

    def again(light: np.ndarray, h: np.ndarray, ab: np.ndarray) -> np.ndarray:
        counts = np.maximum(2 * h - histogram(ab / np.float32(kind[1]), kind[0]), 0)
        return paint(light, (counts / counts.sum()).astype(np.float32))

    def powered(h: np.ndarray, power: float) -> np.ndarray:
        return (h**power / (h**power).sum()).astype(np.float32)

    def mirrored(light: np.ndarray, h: np.ndarray) -> np.ndarray:
        return paint(np.ascontiguousarray(light[:, ::-1]), h)[:, ::-1]

    def moved(light: np.ndarray, h: np.ndarray, ab: np.ndarray, p: np.ndarray) -> np.ndarray:
        # The predicted palette is not followed in use: here it is, as if another had been predicted.
        return followed(ab, h, np.roll(h, h.size // 2) if h is p else p, *kind)

    # Each takes L, the palette, the painting by the network alone and the predicted palette.
    Way = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    ways: dict[str, Way] = {
        "alone": lambda light, h, ab, p: ab,
        "moved": moved,
        "affine": lambda light, h, ab, p: affine(ab, *color_shares(h, *kind)),
        "again": lambda light, h, ab, p: again(light, h, ab),
        "mirrored": lambda light, h, ab, p: (ab + mirrored(light, h)) / 2,
        "sizes": lambda light, h, ab, p: (ab + sized(light, h, 192) + sized(light, h, 320)) / 3,
    }
    guesses: dict[str, Way] = {
        "power 0.9": lambda light, h, ab, p: paint(light, powered(h, 0.9)),
        "power 1.15": lambda light, h, ab, p: paint(light, powered(h, 1.15)),
        "times 0.93": lambda light, h, ab, p: ab * np.float32(0.93),
        "times 1.07": lambda light, h, ab, p: ab * np.float32(1.07),
        "common": lambda light, h, ab, p: paint(light, common),
        "common, moved": lambda light, h, ab, p: followed(paint(light, common), common, p, *kind),
    }

    def joined(light: np.ndarray, ab: np.ndarray) -> np.ndarray:
        return join(light, np.ascontiguousarray(ab, np.float32))

    def distance(lab: np.ndarray, h: np.ndarray) -> float:
        return float(hellinger(histogram(lab[..., 1:] / np.float32(kind[1]), kind[0]), h))

    figures: dict[str, list[float]] = {}
    tables: dict[str, np.ndarray] = {}
    for name in KINDS:
        rows: dict[str, list[tuple[float, ...]]] = {}
        for truth, light, h, p in zip(truths, lights, palettes[name], predicted, strict=True):
            ab = paint(light, h)
            for way, change in (ways | (guesses if name == "automatic" else {})).items():
                painting = joined(light, change(light, h, ab, p))
                lab = bytes_to_lab(painting)
                square = np.mean((painting.astype(float) - truth) ** 2)
                rows.setdefault(way, []).append((
                    10 * np.log10(255**2 / square),
                    float(np.linalg.norm((lab - bytes_to_lab(truth))[..., 1:], axis=-1).mean()),
                    distance(lab, common if "common" in way else h),
                    float(colorfulness(painting[None].astype(np.float32))[0]),
                ))  # fmt: skip
        for way, values in rows.items():
            table = tables[f"{name}, {way}"] = np.array(values)
            gain = (table - tables[f"{name}, alone"])[:, 0]
            figures[f"{name}, {way}"] = [*table.mean(0), gain.mean(), half_interval(gain)]
            print(f"{name}, {way:16}", *(f"{x:9.3f}" for x in figures[f"{name}, {way}"]), flush=True)

    automatic = [
        distance(bytes_to_lab(joined(light, paint(light, p))), h)
        for light, h, p in zip(lights, palettes["foreign"], predicted, strict=True)
    ]
    nearer = np.mean(tables["foreign, moved"][:, 2] < automatic)
    tell({"photographs": len(truths), "nearer": nearer} | figures, 24, args.json, hidden=figures)


if __name__ == "__main__":
    main()
