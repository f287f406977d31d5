"""Measures how colors are brought to full resolution: along the edges of the luminance, beside bicubic stretching.

    python -m comparisons.full_resolution FOLDER [--every 1] [--palette truth] [--megapixels 50] [--json FILE] [--quick]

Every so many-th photograph of FOLDER is painted, and joined at its own size in two ways: as `palgan colorize` does
(`ours_`), and with ab stretched by bicubic interpolation alone (`bicubic_`). Of each: `bleeding`
(palgan_jax/metrics/bleeding.py), the mean distance of ab from the truth's, the same at the tenth of the pixels where
the truth's ab changes most, and PSNR. `--palette truth` paints with each photograph's own palette.

`seconds` are those of joining a picture of so many megapixels, made from the first photograph by enlarging and fresh
grain, from L and the prediction to sRGB; `cpu_seconds` those of the process, which other work disturbs less, and
`decode_cpu_seconds` those of decoding the same picture from a JPEG, as a measure of the machine. `memory_mb` is the
largest resident memory of the process that joins.
"""

import argparse
import io
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
from PIL import Image

from comparisons.figures import means, photographs, tell


def bicubic(lightness: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """Joins L (H, W) with ab (R, R, 2), stretched: sRGB uint8 (H, W, 3)."""
    from palgan_jax.colorize.join import Colors, join_colors
    from palgan_jax.colorize.linear_colors import LinearColors

    return join_colors(Colors(lightness, [LinearColors(ab, np.zeros_like(ab), lightness.shape)], []))


def figures_of(colorizer, path: Path, palette: str) -> dict[str, float]:
    """Returns the figures of one photograph."""
    from palgan_jax.color import bytes_to_lab
    from palgan_jax.colorize.join import join, luminance
    from palgan_jax.data.decode import read_rgb
    from palgan_jax.metrics.bleeding import color_bleeding

    truth = read_rgb(path)
    lightness, lab = luminance(truth), bytes_to_lab(truth)
    _, ab = colorizer.predict(lightness, colorizer.palette_of(truth) if palette == "truth" else None)
    steps = sum(np.abs(np.gradient(lab[..., 1 + i], axis=axis)) for i in range(2) for axis in range(2))
    edges = steps >= np.quantile(steps, 0.9)
    figures = {}
    for name, way in (("bicubic", bicubic), ("ours", join)):
        rgb = way(lightness, ab)
        error = np.linalg.norm((bytes_to_lab(rgb) - lab)[..., 1:], axis=-1)
        figures[f"{name}_bleeding"] = float(color_bleeding(rgb[None], truth[None])[0])
        figures[f"{name}_ab_error"] = float(error.mean())
        figures[f"{name}_ab_error_at_edges"] = float(error[edges].mean())
        squared = np.mean((rgb.astype(np.float64) - truth) ** 2)
        figures[f"{name}_psnr"] = float(10 * np.log10(255**2 / squared))
    return figures


def large(path: Path, megapixels: float) -> np.ndarray:
    """Returns a gray picture of so many megapixels, uint8 (H, W), with grain."""
    side = round((megapixels * 1e6) ** 0.5)
    with Image.open(path) as photograph:
        enlarged = np.asarray(photograph.convert("L").resize((side, side), Image.Resampling.BICUBIC))
    grain = np.random.default_rng(0).integers(-6, 7, enlarged.shape, np.int8)
    return np.clip(enlarged + grain.astype(np.int16), 0, 255).astype(np.uint8)


def cost(path: Path, megapixels: float, results: "multiprocessing.Queue") -> None:
    """Puts seconds and memory of joining a large picture into `results`, from a process of its own."""
    from palgan_jax.colorize.join import join, luminance

    gray = large(path, megapixels)
    jpeg = io.BytesIO()
    Image.fromarray(gray).save(jpeg, "jpeg", quality=92)
    start = time.process_time()
    np.asarray(Image.open(jpeg))
    decoding = time.process_time() - start
    del jpeg
    rng = np.random.default_rng(0)
    ab = np.asarray(rng.normal(0, 20, (8, 8, 2)), np.float32).repeat(32, 0).repeat(32, 1)
    join(luminance(gray[:300, :300]), ab)  # programs are compiled
    lightness = luminance(gray)
    start, cpu_start = time.perf_counter(), time.process_time()
    join(lightness, ab)
    results.put(
        {
            "megapixels": gray.size / 1e6,
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu_start,
            "decode_cpu_seconds": decoding,
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="photographs that the model has not seen")
    parser.add_argument("--every", type=int, default=1, help="measure every so many-th photograph (default: 1)")
    parser.add_argument("--palette", choices=("automatic", "truth"), default="automatic")
    parser.add_argument("--checkpoint", help="as of palgan colorize (default: the bundled one)")
    parser.add_argument("--megapixels", type=float, default=50, help="of the picture that is timed (default: 50)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--quick", action="store_true", help="one photograph, one megapixel: figures mean nothing")
    options = parser.parse_args()
    paths = photographs(options.folder, options.every)
    if options.quick:
        paths, options.megapixels = paths[:1], 1
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=cost, args=(paths[0], options.megapixels, results))
    process.start()
    costs = results.get()
    process.join()

    from palgan_jax.colorize.predictor import Colorizer

    colorizer = Colorizer.load(options.checkpoint)
    rows = [figures_of(colorizer, path, options.palette) for path in paths]
    tell(means(rows) | costs, 28, options.json)


if __name__ == "__main__":
    main()
