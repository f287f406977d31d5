"""Measures what scratches do to automatic colors, and whether it helps to hide them from the network.

    python -m comparisons.scratches FOLDER... [--every 1] [--rounds 3] [--checkpoint PATH]

Each photograph, of at most 1000 pixels a side, is scratched in so many ways: lightly, by thin lines, hairs and dust,
lighter and darker than what they lie on; and heavily, by three times as many and by one to three tears from its edges.
The network sees it as it is, and without scratches: what is further than 15 from the median of 5 x 5 pixels, in L, is
replaced by it. Told are means over the photographs and how much hiding changes them, with intervals of 95 %: PSNR of ab
(over a range of 110), the distance of the predicted palette from the truth's (Hellinger), and how far ab lies from that
which is painted on the photograph as it was, in units of Lab.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from comparisons.figures import half_interval, photographs

SIDE = 1000
KINDS = ("none", "light", "heavy")
FIGURES = ("PSNR, dB", "palette", "moved by")


def scratched(lightness: np.ndarray, heavy: bool, rng: np.random.Generator) -> np.ndarray:
    """Returns an L (H, W) with scratches, hairs and dust, and with tears if `heavy`."""
    factor = 3 if heavy else 1
    for light in (True, False):
        level = rng.uniform(85, 100) if light else rng.uniform(0, 15)
        lightness = _covered(lightness, lambda pen: _scratches(pen, factor, rng), level, rng.uniform(0.5, 1))
        lightness = _covered(lightness, lambda pen: _dust(pen, factor, rng), level, rng.uniform(0.6, 1))
    return _covered(lightness, lambda pen: _tears(pen, rng), rng.uniform(85, 98), 1.0) if heavy else lightness


class _Pen:
    """Draws on a plane of twice the picture's size, in its pixels."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.sheet = Image.new("L", (2 * width, 2 * height))
        self._draw = ImageDraw.Draw(self.sheet)

    def line(self, points: np.ndarray, thickness: float) -> None:
        self._draw.line([(2 * x, 2 * y) for x, y in points], 255, max(1, round(2 * thickness)))

    def speck(self, x: float, y: float, wide: float, high: float) -> None:
        self._draw.ellipse([2 * (x - wide), 2 * (y - high), 2 * (x + wide), 2 * (y + high)], 255)


def _covered(lightness: np.ndarray, draw: Callable[[_Pen], None], level: float, opacity: float) -> np.ndarray:
    pen = _Pen(*lightness.shape)
    draw(pen)
    share = opacity / 255 * np.asarray(pen.sheet.reduce(2), np.float32)
    return lightness * (1 - share) + np.float32(level) * share


def _walk(start: tuple[float, float], angle: float, length: float, bend: float, rng: np.random.Generator) -> np.ndarray:
    angles = angle + np.cumsum(rng.normal(0, bend, 60))
    return start + np.cumsum(length / 60 * np.stack([np.cos(angles), np.sin(angles)], -1), axis=0)


def _anywhere(pen: _Pen, rng: np.random.Generator) -> tuple[float, float]:
    return rng.uniform(0, pen.width), rng.uniform(0, pen.height)


def _scratches(pen: _Pen, factor: int, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(2 * factor, 5 * factor)):
        start = rng.uniform(0, pen.width), rng.uniform(-0.2, 0.7) * pen.height
        down = np.pi / 2 + rng.normal(0, 0.15)
        pen.line(_walk(start, down, rng.uniform(0.4, 1.2) * pen.height, 0.02, rng), rng.uniform(0.8, 3))


def _dust(pen: _Pen, factor: int, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(40 * factor, 100 * factor)):
        radius = 0.25 + rng.exponential(1.5)
        pen.speck(*_anywhere(pen, rng), radius, radius * rng.uniform(0.5, 1))
    for _ in range(rng.integers(2 * factor, 6 * factor)):
        pen.line(_walk(_anywhere(pen, rng), rng.uniform(0, 2 * np.pi), 60, 0.3, rng), 1.2)


def _tears(pen: _Pen, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(1, 4)):
        side, (x, y) = rng.integers(4), _anywhere(pen, rng)
        start = [(x, 0), (pen.width, y), (x, pen.height), (0, y)][side]
        inwards = [np.pi / 2, np.pi, -np.pi / 2, 0][side] + rng.normal(0, 0.3)
        way, thickness = _walk(start, inwards, rng.uniform(300, 1200), 0.25, rng), rng.uniform(3, 12)
        for n in range(len(way) - 1):
            pen.line(way[n : n + 2], 0.5 + thickness * (1 - n / len(way)))


def hidden(lightness: np.ndarray) -> np.ndarray:
    """Returns an L (H, W) with medians where it stands out from them."""
    medians = np.asarray(Image.fromarray(lightness).filter(ImageFilter.MedianFilter(5)))
    return np.where(np.abs(lightness - medians) > 15, medians, lightness)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--checkpoint")
    args = parser.parse_args()

    from palgan_jax import Colorizer
    from palgan_jax.color import AB_RANGE, bytes_to_lab
    from palgan_jax.colorize.join import squash
    from palgan_jax.data.decode import read_rgb
    from palgan_jax.palette.histogram import hellinger, histogram

    colorizer, rng = Colorizer.load(args.checkpoint), np.random.default_rng(0)
    rows = []
    for path in (path for folder in args.folders for path in photographs(folder, args.every)):
        picture = Image.fromarray(read_rgb(path))
        picture.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
        lightness, *ab = np.ascontiguousarray(np.moveaxis(bytes_to_lab(np.asarray(picture)), -1, 0))
        truth = np.stack([squash(plane, colorizer.resolution) for plane in ab], -1)
        palette, (_, intact_ab) = np.asarray(histogram(truth / AB_RANGE)), colorizer.predict(lightness)

        def figures(input_lightness: np.ndarray, truth=truth, palette=palette, intact_ab=intact_ab) -> list[float]:
            h, ab = colorizer.predict(input_lightness)
            psnr = -10 * np.log10(np.mean((ab - truth) ** 2) / AB_RANGE**2)
            return [psnr, float(hellinger(h, palette)), np.linalg.norm(ab - intact_ab, axis=-1).mean()]

        inputs = [[lightness]] + [[scratched(lightness, x, rng) for _ in range(args.rounds)] for x in (False, True)]
        rows.append(
            [[np.mean([figures(view(l)) for l in copies], 0) for view in (np.asarray, hidden)] for copies in inputs]
        )
    table = np.asarray(rows)  # (photographs, kinds, seen or hidden, figures)
    print(f"{len(table)} photographs")
    for kind, ways in zip(KINDS, np.moveaxis(table, 0, -1), strict=True):
        print(f"scratches: {kind}")
        for name, visible_values, hidden_values in zip(FIGURES, *ways, strict=True):
            changes = hidden_values - visible_values
            change = f"({changes.mean():+.3f} +- {half_interval(changes):.3f})"
            print(f"  {name:10}{visible_values.mean():8.3f} -> {hidden_values.mean():.3f} {change}")


if __name__ == "__main__":
    main()
