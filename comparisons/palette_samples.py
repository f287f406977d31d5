"""Palettes drawn around predicted ones: the typical palettes that they go to, and how good and how different they are.

    python -m comparisons.palette_samples fit photos/train
    python -m comparisons.palette_samples measure photos/val

The first writes `bundled/typical_palettes.npz`. The second paints each photograph, squashed to 256 x 256, with its
predicted palette and with 8 samples. It prints the distance from the truth of the prediction, of the samples and of the
best of the 8, and the share of samples that are nearer than the prediction: by palettes (Hellinger distance), and by
pictures (CIEDE2000 and LPIPS); and the mean LPIPS between two samples.
"""

import argparse
from functools import partial
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from palgan_jax import Colorizer, Palette, open_picture
from palgan_jax.color import bytes_to_lab
from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.result import Result
from palgan_jax.data.folder import list_pictures
from palgan_jax.data.picture import Picture
from palgan_jax.metrics.ciede2000 import ciede2000
from palgan_jax.metrics.lpips import diversity, lpips
from palgan_jax.palette.samples import TYPICAL
from palgan_jax.pretrained.load import load_metric_weights

CENTERS, ROUNDS = 64, 30
SAMPLES, SIDE = 8, 256


def squashed(path: Path) -> np.ndarray:
    """Reads a picture, uint8 (256, 256, 3)."""
    return np.asarray(Image.fromarray(open_picture(path)).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def fit(files: list[Path]) -> None:
    """Writes the typical palettes of pictures."""
    roots = np.sqrt([Palette.of(squashed(file)).shares for file in files]).astype(np.float64)
    centers = roots[:1]
    while len(centers) < CENTERS:
        farthest = ((roots[:, None] - centers) ** 2).sum(axis=-1).min(axis=1).argmax()
        centers = np.concatenate([centers, roots[[farthest]]])
    for _ in range(ROUNDS):
        nearest = ((roots[:, None] - centers) ** 2).sum(axis=-1).argmin(axis=1)
        centers = np.stack([roots[nearest == i].mean(axis=0) for i in range(CENTERS)])
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    np.savez_compressed(TYPICAL, roots=centers.astype(np.float16), counts=np.bincount(nearest).astype(np.uint16))
    print(f"{TYPICAL} has {CENTERS} typical palettes of {len(files)} photographs, {TYPICAL.stat().st_size} bytes.")


def measure(files: list[Path], temperature: float) -> None:
    """Prints how good and how different samples are."""
    colorizer = Colorizer.load()
    weights = load_metric_weights("lpips-alexnet")
    difference = jax.jit(ciede2000)
    distance = jax.jit(partial(lpips, network="alexnet"))
    spread = jax.jit(partial(diversity, network="alexnet"))

    def errors(result: Result, truth: np.ndarray, true_palette: Palette) -> list[float]:
        labs = (bytes_to_lab(rgb) for rgb in (result.pixels, truth))
        perceptual = distance(weights, result.pixels[None], truth[None])
        return [result.palette.distance(true_palette), float(np.mean(difference(*labs))), float(perceptual[0])]

    rows = []
    for file in files:
        truth = squashed(file)
        palette = Palette.of(truth)
        automatic = np.array(errors(colorizer.paint(Picture(truth)), truth, palette))
        sample_paintings = [Painting(sample=i + 1, temperature=temperature) for i in range(SAMPLES)]
        results = [colorizer.paint(Picture(truth), painting) for painting in sample_paintings]
        of_samples = np.array([errors(result, truth, palette) for result in results])  # (8, 3)
        share_better, best = (of_samples < automatic).mean(axis=0), of_samples.min(axis=0)
        sample_spread = float(spread(weights, [result.pixels[None] for result in results])[0])
        rows.append([*automatic, *of_samples.mean(axis=0), *best, *share_better, sample_spread])
    mean = np.mean(rows, axis=0)
    print(f"{len(files)} photographs, {SAMPLES} samples of each at temperature {temperature:g}")
    for i, name in enumerate(("palette", "CIEDE2000", "LPIPS")):
        print(
            f"{name:10} automatic {mean[i]:.3f}, samples {mean[3 + i]:.3f}, best {mean[6 + i]:.3f}, "
            f"better than automatic {mean[9 + i]:.0%}"
        )
    print(f"LPIPS between samples {mean[12]:.3f}")


def main() -> None:
    """Fits or measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fit", "measure"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--temperature", type=float, default=1.0)
    args = parser.parse_args()
    listing = list_pictures(args.folder)
    files = [listing.root / name for name in listing.names]
    if args.what == "fit":
        fit(files)
    else:
        measure(files, args.temperature)


if __name__ == "__main__":
    main()
