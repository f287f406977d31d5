"""Measures colors that are given at pixels: how much they help, beside Levin et al. (2004), and how long they take.

    python -m comparisons.points FOLDER [--every 5] [--checkpoint PATH] [--json FILE]

Every so many-th photograph of FOLDER, squashed to 256 x 256, is painted automatically, and 1, 5 and 20 pixels by chance
are given the truth's mean color of 7 x 7 pixels around each (the protocol of Zhang et al., "Real-time user-guided image
colorization with learned deep priors", SIGGRAPH 2017). The figures are the mean distance of ab from the truth's, in
units of Lab: of the painting, of `palgan_jax.colorize.points`, and of Levin's linear system on the difference to the
painting: affinities of four neighbors, the points met exactly, and a floor that fades over 120 pixels. The palette is
not moved here. `seconds_*` are CPU seconds of a photograph at 512 x 512 with five points, from L to sRGB without the
network: of the first painting, and of one in which a point was moved.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu

from comparisons.figures import means, photographs, tell

COUNTS = (1, 5, 20)
SIDE, FADES_OVER, EDGE, FLOOR = 256, 120, 4.0, 1e-3


def levin(lightness: np.ndarray, painted: np.ndarray, cells: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns ab (S, S, 2): the painting and a smooth difference that meets the wanted ab (k, 2) at the cells (k,)."""
    index = np.arange(lightness.size).reshape(lightness.shape)
    pairs = [(index[:, :-1], index[:, 1:]), (index[:-1], index[1:])]
    i, j = (np.concatenate([pair[n].ravel() for pair in pairs]) for n in (0, 1))
    flat = lightness.ravel().astype(np.float64)
    similarity = np.exp(-0.5 * ((flat[i] - flat[j]) / EDGE) ** 2) + FLOOR
    affinity = coo_matrix((similarity, (i, j)), (flat.size,) * 2)
    affinity = affinity + affinity.T
    degrees = np.asarray(affinity.sum(1)).ravel()
    system = (diags(degrees + 1 / FADES_OVER**2) - affinity).tocsc()
    factor = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    answers = np.stack([factor.solve(np.eye(1, flat.size, cell)[0]) for cell in cells], 1)  # (S * S, k)
    change = targets - painted.reshape(-1, 2)[cells]
    return painted + (answers @ np.linalg.solve(answers[cells], change)).reshape(painted.shape)


def errors(colorizer, path: Path) -> dict[str, float]:
    """Returns the errors of one photograph."""
    from palgan_jax.color import bytes_to_lab
    from palgan_jax.colorize.join import ab_of, colors_of
    from palgan_jax.colorize.points import Ground, Hints, Spread
    from palgan_jax.data.decode import read_rgb

    square = Image.fromarray(read_rgb(path)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    lab = bytes_to_lab(np.asarray(square))
    lightness, truth = np.ascontiguousarray(lab[..., 0]), lab[..., 1:]
    _, ab = colorizer.predict(lightness)

    def error(painting: np.ndarray) -> float:
        return float(np.linalg.norm(painting.reshape(truth.shape) - truth, axis=-1).mean())

    colors = colors_of(lightness, ab)
    painted = ab_of(colors)

    figures = {"painted": error(painted)}
    rng = np.random.default_rng(0)
    for count in COUNTS:
        cells = rng.choice(SIDE * SIDE, count, replace=False)
        places = np.stack([cells % SIDE, cells // SIDE], -1)
        targets = np.stack([_around(truth, x, y).mean((0, 1)) for x, y in places])
        spread = Spread(Ground(lightness), Hints(places, targets, np.arange(count)))
        figures[f"ours_{count}"] = error(ab_of(spread.over(colors)))
        figures[f"levin_{count}"] = error(levin(lightness, painted, cells, targets))
    return figures


def _around(truth: np.ndarray, x: int, y: int) -> np.ndarray:
    return truth[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4]


def seconds(path: Path) -> dict[str, float]:
    """Returns the CPU seconds of a photograph with five points: all new, and with one of them moved."""
    from palgan_jax.colorize.join import colors_of, join_colors, luminance
    from palgan_jax.colorize.points import Ground, Hints, Spread
    from palgan_jax.data.decode import read_rgb

    picture = Image.fromarray(read_rgb(path)).resize((512, 512), Image.Resampling.BICUBIC)
    ab = np.zeros((256, 256, 2), np.float32)
    points = [((80 * i + 40, 30 * i + 100), color) for i, color in enumerate(("red", "teal", "gold", "gray", "navy"))]

    def paint(lightness: np.ndarray) -> float:
        start = time.process_time()
        join_colors(Spread(Ground(lightness), Hints.at_points(points)).over(colors_of(lightness, ab)))
        return time.process_time() - start

    lightness = luminance(np.asarray(picture))
    paint(lightness)  # programs are compiled
    lightness = np.ascontiguousarray(lightness[::-1])
    first, seconds_after_moves = paint(lightness), []
    for i in range(5):
        points[i] = ((90 * i + 41, 400 - 50 * i), points[i][1])
        seconds_after_moves.append(paint(lightness))
    return {"seconds_first": first, "seconds_moved": float(np.median(seconds_after_moves))}


def main() -> None:
    from palgan_jax.colorize.predictor import Colorizer

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="photographs that the model has not seen")
    parser.add_argument("--every", type=int, default=5, help="measure every so many-th photograph (default: 5)")
    parser.add_argument("--checkpoint", help="as of palgan colorize (default: the bundled one)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    colorizer = Colorizer.load(options.checkpoint)
    paths = photographs(options.folder, options.every)
    rows = [errors(colorizer, path) for path in paths]
    tell(means(rows) | seconds(paths[0]), 16, options.json)


if __name__ == "__main__":
    main()
