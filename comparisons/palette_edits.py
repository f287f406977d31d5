"""Edits of palettes beside the same edits of pixels, by the colors behind a palette and by moving its bins.

    python -m comparisons.palette_edits FOLDER

prints, for each edit, the mean Hellinger distance from the palette of edited pixels: of the palette that was not
edited, of its bins moved (bilinearly) or weighted, and of `Palette`'s edit.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from palgan_jax import Palette, open_picture
from palgan_jax.color import AB_RANGE, bytes_to_lab
from palgan_jax.data.folder import list_pictures
from palgan_jax.palette.color_shares import count_colors
from palgan_jax.palette.edits import boost, shift
from palgan_jax.palette.histogram import bin_centers

SIDE = 128
GRASS = np.array([-22.0, 32.0])

Edit = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
EDITS: dict[str, tuple[Edit, Callable[[Palette], Palette]]] = {
    "shift hue=30": (lambda ab, w: (shift(ab, 30, 1, 0), w), lambda p: p.shift(hue=30)),
    "shift chroma=1.5": (lambda ab, w: (shift(ab, 0, 1.5, 0), w), lambda p: p.shift(chroma=1.5)),
    "shift temperature=10": (lambda ab, w: (shift(ab, 0, 1, 10), w), lambda p: p.shift(temperature=10)),
    "boost #5a7a3a 3": (lambda ab, w: (ab, boost(ab, w, GRASS, 3, 15)), lambda p: p.boost("#5a7a3a", 3)),
}
"""Words -> the edit of colors and their weights, and that of a palette."""


def move_bins(h: np.ndarray, edit: Edit) -> np.ndarray:
    """Edits the bins of a palette (256,) as if each were one color, shared out to the bins around its new place."""
    centers = bin_centers().astype(np.float64)
    plane = np.stack(np.meshgrid(centers, centers, indexing="ij"), axis=-1).reshape(-1, 2)
    ab, weights = edit(plane * AB_RANGE, h.astype(np.float64))
    place = np.clip((ab / AB_RANGE + 1) * 7.5, 0, 15)
    low = np.minimum(place.astype(int), 14)
    part = place - low
    result = np.zeros((16, 16))
    for i in (0, 1):
        for j in (0, 1):
            share = np.abs(1 - i - part[:, 0]) * np.abs(1 - j - part[:, 1])
            np.add.at(result, (low[:, 0] + i, low[:, 1] + j), weights * share)
    return result.ravel()


def main() -> None:
    """Measures all edits on the pictures of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    listing = list_pictures(parser.parse_args().folder)
    files = [listing.root / name for name in listing.names]
    distances: dict[str, list[list[float]]] = {name: [] for name in EDITS}
    for file in files:
        small = Image.fromarray(open_picture(file)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        ab = bytes_to_lab(np.asarray(small))[..., 1:].reshape(-1, 2).astype(np.float64)
        weights = np.full(len(ab), 1 / len(ab))
        original = Palette(count_colors(ab, weights))
        for name, (of_colors, of_palette) in EDITS.items():
            truth = Palette(count_colors(*of_colors(ab, weights)))
            rivals = original, Palette(move_bins(original.shares, of_colors)), of_palette(original)
            distances[name].append([rival.distance(truth) for rival in rivals])
    print(f"{len(files)} pictures; edit, not edited, bins moved, ours")
    for name, rows in distances.items():
        print(name, *(f"{value:.3f}" for value in np.mean(rows, axis=0)), sep="\t")


if __name__ == "__main__":
    main()
