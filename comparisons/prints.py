"""Measures how old prints are colorized with and without their border, on prints that are made of photographs.

    python -m comparisons.prints FOLDER [--every 4] [--checkpoint PATH]

Each photograph of FOLDER, squashed to 600 x 450, gets a border of 20 to 54 pixels a side on paper of L 88 to 97, a turn
of up to 1.2 degrees and grain; a second print of each has faded to L' = 35 + 0.55 L. `found` counts those whose border
is found, and `false` the photographs as they are that are taken for prints. Of every so many-th print that is found:
the mean distance of ab from the truth's within, and the mean chroma on the border, in units of Lab, as they are and
with the border left out.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from comparisons.figures import half_interval

HEIGHT, WIDTH = 450, 600


def make_print(
    lab: np.ndarray, faded: bool, rng: np.random.Generator, grain: float = 1.2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns L (H, W) of a print of a photograph's Lab, the ab (H, W, 2), and where the photograph is (H, W)."""
    pads, paper, angle = rng.integers(20, 55, (2, 2)), float(rng.uniform(88, 97)), float(rng.uniform(-1.2, 1.2))

    def turned(plane: np.ndarray, fill: float) -> np.ndarray:
        sheet = Image.fromarray(np.pad(plane, pads, constant_values=fill).astype(np.float32))
        return np.asarray(sheet.rotate(angle, Image.Resampling.BICUBIC, fillcolor=fill))

    lightness = np.clip(turned(lab[..., 0], paper), 0, 100)
    lightness = 35 + 0.55 * lightness if faded else lightness
    ab = np.stack([turned(lab[..., i], 0) for i in (1, 2)], -1)
    is_photograph = turned(np.ones(lab.shape[:2]), 0) > 0.8
    return (lightness + rng.normal(0, grain, lightness.shape)).astype(np.float32), ab, is_photograph


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--checkpoint")
    args = parser.parse_args()

    from palgan_jax import Colorizer
    from palgan_jax.color import bytes_to_lab
    from palgan_jax.colorize.border import find_border
    from palgan_jax.colorize.join import luminance
    from palgan_jax.data.decode import read_rgb

    def stretched(ab: np.ndarray, height: int, width: int) -> np.ndarray:
        planes = [Image.fromarray(np.ascontiguousarray(ab[..., i])) for i in range(2)]
        return np.stack([np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC)) for plane in planes], -1)

    colorizer, rng = Colorizer.load(args.checkpoint), np.random.default_rng(0)
    paths = sorted(args.folder.glob("*.jpg"))
    print("false:", sum(find_border(luminance(read_rgb(path))) is not None for path in paths), "of", len(paths))
    for faded in (False, True):
        count, rows = 0, []
        for i, path in enumerate(paths):
            picture = Image.fromarray(read_rgb(path)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            lightness, truth, is_photograph = make_print(bytes_to_lab(np.asarray(picture)), faded, rng)
            border = find_border(lightness)
            if border is None:
                continue
            count += 1
            if i % args.every:
                continue
            height, width = lightness.shape
            ab_of_whole = stretched(colorizer.predict(lightness)[1], height, width)
            place, ab_without_border = border.place(height, width), np.zeros_like(ab_of_whole)
            part = np.ascontiguousarray(lightness[place])
            ab_without_border[place] = stretched(colorizer.predict(part)[1], *part.shape)
            ab_without_border[border.mask(height, width) == 255] = 0
            is_border = np.asarray(Image.fromarray(is_photograph).convert("L").filter(ImageFilter.MaxFilter(9))) == 0
            errors = [
                np.linalg.norm(ab - truth, axis=-1)[is_photograph].mean() for ab in (ab_of_whole, ab_without_border)
            ]
            tints = [np.linalg.norm(ab, axis=-1)[is_border].mean() for ab in (ab_of_whole, ab_without_border)]
            rows.append([*errors, *tints, errors[1] - errors[0]])
        means, half = np.mean(rows, 0), half_interval(np.array(rows))[-1]
        print(f"{'faded' if faded else 'fresh'}: found {count} of {len(paths)}; of {len(rows)}:", end=" ")
        print("ab error {:.2f} -> {:.2f}, tint {:.2f} -> {:.2f}, change {:.2f}".format(*means), f"+- {half:.2f}")


if __name__ == "__main__":
    main()
