"""Measures the seams of regions, and what one of them changes outside of its mask.

    python -m comparisons.regions FOLDER PALETTE [--every 8] [--checkpoint PATH]

Every so many-th photograph of FOLDER, squashed to 900 x 600, gets a region with the palette of the picture PALETTE on
its right half; the mask goes from 0 to 1 over 1, 40 and 200 columns. The share that a column has of the region's colors
is that of the change which the palette makes where it paints all of the picture; the width of a seam is the distance
between shares of 0.1 and 0.9, in columns. One pass is a pass of the network alone, in which PalNorm mixes both palettes
by the mask. The change outside of the mask is that of ab, in units of Lab, more than 24 of 256 pixels away.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 600, 900


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("palette", type=Path)
    parser.add_argument("--every", type=int, default=8)
    parser.add_argument("--checkpoint")
    args = parser.parse_args()

    from palgan_jax import Colorizer, Palette
    from palgan_jax.colorize.join import Layer, ab_of, colors_of, luminance, squash
    from palgan_jax.colorize.regions import REACH, Region, paint_region
    from palgan_jax.data.decode import read_rgb
    from palgan_jax.palette.regions import Regions

    colorizer = Colorizer.load(args.checkpoint)
    palette = Palette.of(args.palette, colorizer.spec, colorizer.config.ab_range)
    size, x = colorizer.resolution, np.arange(WIDTH) - WIDTH / 2 + 0.5
    print("soft | mask's width | width | width of one pass | change outside of the mask | that of one pass")
    for soft in (1, 40, 200):
        row = np.round(255 * np.clip(x / soft + 0.5, 0, 1)).astype(np.uint8)
        mask = np.ascontiguousarray(np.broadcast_to(row, (HEIGHT, WIDTH)))
        sums, changes = np.zeros((2, 2, WIDTH)), []
        for path in sorted(args.folder.glob("*.jpg"))[:: args.every]:
            picture = Image.fromarray(read_rgb(path)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            lightness = luminance(np.asarray(picture))
            predicted, ab = colorizer.predict(lightness)
            share = np.broadcast_to(squash(mask.astype(np.float32) / 255, size), (size, size))
            mixed = Regions(
                np.stack([predicted, palette.counts()])[None],  # type: ignore[arg-type]
                np.stack([1 - share, share], -1)[None],  # type: ignore[arg-type]
            )
            whole = Layer(colorizer.repaint(lightness, palette.counts()), np.full_like(mask, 255))
            region_layer = paint_region(Region(mask, palette), squash(lightness, size), predicted, colorizer.repaint)
            one_pass = Layer(colorizer.repaint(lightness, mixed), whole.mask)
            plain, all_over, *ab_changes = (
                ab_of(colors_of(lightness, ab, layers)) for layers in ([], [whole], [region_layer], [one_pass])
            )
            change = all_over - plain
            for total, colors in zip(sums, ab_changes, strict=True):
                total += ((colors - plain) * change).sum((0, 2)), (change**2).sum((0, 2))
            is_far = (row == 0) & (x < -soft / 2 - REACH * WIDTH)
            changes.append([np.linalg.norm(colors - plain, axis=-1)[:, is_far].mean() for colors in ab_changes])
        shares = sums[:, 0] / sums[:, 1]
        widths = [int(np.argmax(share > 0.9) - np.argmax(share > 0.1)) for share in (row / 255, *shares)]
        print(soft, *widths, *(f"{value:.2f}" for value in np.mean(changes, 0)), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
