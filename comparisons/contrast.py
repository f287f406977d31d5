"""Measures what `--restore-contrast` makes of faded prints, beside other ways, on prints that are made of photographs.

    python -m comparisons.contrast FOLDER... [--every 2] [--checkpoint PATH]

Each photograph, squashed to 600 x 450, becomes a print (`comparisons.prints`): fresh, faded to L' = 35 + 0.55 L, and
faded and scratched lightly (`comparisons.scratches`). Told is the mean PSNR of L within the border (over a range of
100) from the photograph's: as it is, restored, and by Pillow's autocontrast and scikit-image's rescale_intensity and
equalize_adapthist (CLAHE), which see the photograph without its border, as the picture of bytes that the print is.

Of every so many-th print, colorized with and without the option: the mean distance of ab from the truth's, in units of
Lab, and of what is painted on the photograph itself, and the mean colorfulness (Hasler and Suesstrunk) within the
border. Intervals are of 95 %.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from skimage import exposure

from comparisons.figures import half_interval, photographs
from comparisons.prints import HEIGHT, WIDTH, make_print
from comparisons.scratches import scratched

KINDS = ("fresh", "faded", "faded and scratched")
CUT = 0.5  # percent at each end, of what some of the rivals leave out


def psnr(lightness: np.ndarray, truth: np.ndarray) -> float:
    """Returns the PSNR of L over a range of 100, in dB."""
    return float(-10 * np.log10(np.mean((lightness / 100 - truth / 100) ** 2)))


def ways_to_restore() -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Returns ways from the bytes of a print (H, W), and where its photograph is (H, W), to its L, by their names."""
    from palgan_jax.colorize.join import luminance
    from palgan_jax.colorize.prepared import Subject
    from palgan_jax.data.picture import Picture

    def restored(gray: np.ndarray, _: np.ndarray) -> np.ndarray:
        return Subject(Picture(gray)).restored.lightness

    def autocontrast(cutoff: float):
        def change(gray: np.ndarray, is_photograph: np.ndarray) -> np.ndarray:
            picture, mask = Image.fromarray(gray), Image.fromarray(is_photograph).convert("L")
            return luminance(np.asarray(ImageOps.autocontrast(picture, cutoff, mask=mask)))

        return change

    def rescaled(gray: np.ndarray, is_photograph: np.ndarray) -> np.ndarray:
        ends = np.percentile(gray[is_photograph], (CUT, 100 - CUT))
        return luminance(exposure.rescale_intensity(gray, tuple(ends), np.uint8))

    def equalized(gray: np.ndarray, is_photograph: np.ndarray) -> np.ndarray:
        rows, columns = (np.flatnonzero(is_photograph.any(axis)) for axis in (1, 0))
        place = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        equal = gray.copy()
        equal[place] = np.round(255 * exposure.equalize_adapthist(gray[place]))
        return luminance(equal)

    return {
        "as it is": lambda gray, _: luminance(gray),
        "restored": restored,
        "autocontrast": autocontrast(0),
        f"autocontrast, {CUT} %": autocontrast(CUT),
        f"rescale_intensity, {CUT} %": rescaled,
        "CLAHE": equalized,
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--checkpoint")
    args = parser.parse_args()

    from palgan_jax import Colorizer
    from palgan_jax.color import bytes_to_lab, colorfulness, lightness_to_srgb
    from palgan_jax.data.decode import read_rgb

    def bytes_of(lightness: np.ndarray) -> np.ndarray:
        return np.round(255 * lightness_to_srgb(np.clip(lightness, 0, 100))).astype(np.uint8)

    def ab_of(pixels: np.ndarray) -> np.ndarray:
        return bytes_to_lab(pixels)[:, 1:]

    colorizer, ways = Colorizer.load(args.checkpoint), ways_to_restore()
    paths = [path for folder in args.folders for path in photographs(folder, 1)]
    tones: list[np.ndarray] = []
    decibels, colors = ({kind: [] for kind in KINDS} for _ in range(2))
    for i, path in enumerate(paths):
        rgb = np.asarray(Image.fromarray(read_rgb(path)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        lab = bytes_to_lab(rgb)
        tones.append(np.percentile(lab[..., 0], (CUT, 100 - CUT)))
        truth, ab, is_photograph = make_print(lab, False, np.random.default_rng(i), grain=0)
        is_photograph = np.asarray(Image.fromarray(is_photograph).convert("L").filter(ImageFilter.MinFilter(3))) > 0
        is_painted = i % args.every == 0
        aim = ab_of(colorizer(bytes_of(truth)).pixels[is_photograph]) if is_painted else ab[is_photograph]
        for kind in KINDS:
            lightness, _, _ = make_print(lab, kind != "fresh", np.random.default_rng(i))
            if "scratched" in kind:
                lightness = scratched(lightness, False, np.random.default_rng(i))
            gray = bytes_of(lightness)
            decibels[kind].append(
                [psnr(way(gray, is_photograph)[is_photograph], truth[is_photograph]) for way in ways.values()]
            )
            if not is_painted:
                continue
            row = []
            for with_contrast in (False, True):
                pixels = colorizer(gray, restore_contrast=with_contrast).pixels[is_photograph]
                errors = [np.linalg.norm(ab_of(pixels) - target, axis=-1).mean() for target in (ab[is_photograph], aim)]
                row.append([*errors, colorfulness(pixels[None, None])[0], colorfulness(rgb[None])[0]])
            colors[kind].append(row)
    print("medians of the darkest and lightest L of the photographs: {:.1f}, {:.1f}".format(*np.median(tones, 0)))
    print(f"PSNR of L, dB, of {len(paths)}:", "; ".join(KINDS))
    for name, row in zip(ways, np.mean([decibels[kind] for kind in KINDS], axis=1).T, strict=True):
        print(f"  {name:26}", *(f"{value:8.2f}" for value in row))
    for kind in KINDS:
        before, after = np.moveaxis(np.asarray(colors[kind]), 1, 0)  # (photographs, figures)
        print(f"{kind}, colors of {len(before)}; colorfulness of the photographs {before[:, 3].mean():.1f}")
        half = half_interval(after - before)
        for j, name in enumerate(("ab error", "from the fresh", "colorfulness")):
            change = f"({(after - before)[:, j].mean():+.2f} +- {half[j]:.2f})"
            print(f"  {name:15}{before[:, j].mean():7.2f} -> {after[:, j].mean():.2f} {change}")


if __name__ == "__main__":
    main()
