"""Measures painting at larger sizes than that of the model's training, with the palette of that size.

    python -m comparisons.sizes FOLDER [--sizes 256 512 1024] [--every 2] [--mosaic] [--checkpoint PATH]

Every so many-th photograph of FOLDER is painted at each size and measured at 512 x 512: PSNR, the mean distance of ab
from the truth's, `metrics.bleeding`, the mean chroma, and `metrics.size_consistency` with the first size. `--mosaic`
sets four photographs at a time in squares of one, in which things are half as large.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from comparisons.figures import half_interval

SIDE = 512


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--mosaic", action="store_true")
    parser.add_argument("--checkpoint")
    args = parser.parse_args()

    from palgan_jax import Colorizer
    from palgan_jax.color import bytes_to_lab
    from palgan_jax.colorize.join import join, luminance
    from palgan_jax.data.decode import read_rgb
    from palgan_jax.metrics.bleeding import color_bleeding
    from palgan_jax.metrics.size_consistency import size_consistency

    colorizer = Colorizer.load(args.checkpoint)
    pictures = [read_rgb(path) for path in sorted(args.folder.glob("*.jpg"))[:: args.every]]
    if args.mosaic:
        small = [np.asarray(Image.fromarray(picture).resize((SIDE, SIDE))) for picture in pictures]
        rows = [np.concatenate(small[i : i + 2], axis=1) for i in range(0, len(small) - 1, 2)]
        pictures = [np.concatenate(rows[i : i + 2]) for i in range(0, len(rows) - 1, 2)]
    values: dict[int, list[list[float]]] = {size: [] for size in args.sizes}
    for picture in pictures:
        truth = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        palette, _ = colorizer.predict(luminance(picture))
        paintings = {size: colorizer.repaint(luminance(picture), palette, size) for size in args.sizes}
        for size, ab in paintings.items():
            painted = join(luminance(truth), ab)
            difference = bytes_to_lab(painted)[..., 1:] - bytes_to_lab(truth)[..., 1:]
            square = np.mean((painted.astype(float) - truth) ** 2)
            inconsistency = (
                size_consistency([paintings[args.sizes[0]][None], ab[None]]) if size != args.sizes[0] else [0]
            )
            values[size].append([
                10 * np.log10(255**2 / square),
                np.linalg.norm(difference, axis=-1).mean(),
                float(color_bleeding(painted[None], truth[None])[0]),
                np.linalg.norm(ab, axis=-1).mean(),
                float(inconsistency[0]),
            ])  # fmt: skip
    print(f"{len(pictures)} pictures: size | PSNR, dB | ab error | bleeding | chroma | apart | PSNR, ab over the first")
    first = np.array(values[args.sizes[0]])
    for size in args.sizes:
        figures = np.array(values[size])
        change = (figures - first)[:, :2]
        print(size, *(f"{value:.3f}" for value in figures.mean(0)), sep=" | ", end=" | ")
        print(
            *(f"{m:+.2f} +- {h:.2f}" for m, h in zip(change.mean(0), half_interval(change), strict=True)),
            sep=" | ",
            flush=True,
        )


if __name__ == "__main__":
    main()
