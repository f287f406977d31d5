"""Measures `palgan colorize` on a folder of 12-megapixel JPEGs, beside what its parts take by themselves.

    python -m comparisons.colorize [--pictures 24] [--rounds 3] [--json FILE] [--quick]

The pictures are made from the bundled photographs: enlarged to 4000 x 3000, with fresh grain, quality 92. In each
round, in turn and in processes of their own:

  floor      what no colorizer of this kind can do without, on all cores: the JPEGs decoded, the network at its own
             resolution for each, and results of the same pixels encoded in the same format. In threads, as many
             pictures at once as there are cores, one prediction at a time. Nothing is shrunk, joined or written.
  command    `palgan colorize FOLDER --output ...`, from the first picture's begin to the last one's end: without the
             start of the process, which comparisons/start_up.py measures.
  one        one picture with the model loaded, from bytes to bytes, the median of five; beside it the same floor for
             one picture on one thread: decoding, network and encoding.

`of_floor` is the median over the rounds of the floor's seconds by the command's, `one_by_floor` that of one's by its
floor. The aims are at least 0.75, and at most 1.5.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from comparisons.figures import tell

ROOT = Path(__file__).resolve().parent.parent
SIZE, QUICK_SIZE = (4000, 3000), (400, 300)


def make_pictures(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Makes JPEGs of `size` (width, height) from the bundled photographs, all different."""
    photos = sorted((ROOT / "examples" / "photos").glob("*.jpg"))
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        with Image.open(photos[number % len(photos)]) as photo:
            large = photo.convert("L").resize(size, Image.Resampling.BICUBIC).convert("RGB")
        grain = rng.integers(-6, 7, (size[1], size[0], 1), np.int16)
        pixels = np.clip(np.asarray(large, np.int16) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04}.jpg", quality=92)


def floor(options: argparse.Namespace) -> dict[str, float]:
    """Returns the seconds that decoding, the network and encoding take by themselves."""
    from palgan_jax.colorize.encode import encode
    from palgan_jax.colorize.metadata import no_metadata
    from palgan_jax.colorize.predictor import Colorizer
    from palgan_jax.data.decode import decode_rgb, read_bytes
    from palgan_jax.util.threads import available_cores

    colorizer, predicting = Colorizer.load(options.checkpoint), threading.Lock()
    square = np.full((colorizer.resolution,) * 2, 50, np.float32)
    colorizer.predict(square)
    results = _results(options)

    def work(path: Path) -> None:
        rgb = decode_rgb(read_bytes(path), name=str(path))
        with predicting:
            colorizer.predict(square)
        # The pixels of a real result, which compress less well than gray ones.
        pixels = results[int(path.stem) % len(results)]
        assert pixels.shape == rgb.shape
        encode(pixels, no_metadata(), options.format, None, str(path))

    paths = sorted(Path(options.folder).glob("*.jpg"))
    start = time.perf_counter()
    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(work, paths))
    together = time.perf_counter() - start
    return {"floor": together, "one_floor": _median_seconds(lambda: work(paths[0]))}


def _median_seconds(work: Callable[[], None], times: int = 5) -> float:
    """Returns the median of the seconds that work takes, several times in turn."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _results(options: argparse.Namespace) -> list[np.ndarray]:
    """Returns real results of the first pictures, to be encoded by the floor."""
    from palgan_jax.data.decode import read_rgb

    return [read_rgb(path) for path in sorted(Path(options.results).glob("*.png"))[:2]]


def command(options: argparse.Namespace) -> dict[str, float]:
    """Returns the seconds that the work of the command takes, and those of one picture."""
    from palgan_jax.checkpoint.find import find_weights
    from palgan_jax.colorize.batch import Worker, do_jobs
    from palgan_jax.colorize.encode import FORMATS, encode
    from palgan_jax.colorize.files import read_photograph
    from palgan_jax.colorize.inputs import find_sources
    from palgan_jax.colorize.painting import Painting
    from palgan_jax.colorize.predictor import Colorizer
    from palgan_jax.colorize.record import Records
    from palgan_jax.colorize.targets import Names, Version, plan
    from palgan_jax.data.decode import MAX_PIXELS, picture_size, read_bytes
    from palgan_jax.util.threads import available_cores

    colorizer = Colorizer(find_weights(options.checkpoint))
    sources, _ = find_sources([options.folder])

    def one() -> None:
        path = sources[0].path
        photograph = read_photograph(read_bytes(path), str(path))
        pixels = colorizer.paint(photograph.picture, deep=FORMATS[options.format].takes_16_bits).pixels
        encode(pixels, photograph.metadata, options.format, None, str(path))

    one()  # programs are compiled
    alone = _median_seconds(one)
    records, names, outcomes = Records(), Names([]), []
    with tempfile.TemporaryDirectory() as output:
        start = time.perf_counter()
        sizes = [picture_size(source.path) for source in sources]
        jobs = plan(sources, Path(output), options.format, [Version()], lambda *_: "", names, records)
        worker = Worker(colorizer, Painting(), None, MAX_PIXELS, records, names, False)
        pairs = [(job, width * height) for job, (width, height) in zip(jobs, sizes, strict=True)]
        do_jobs(pairs, worker, available_cores(), outcomes.append, lambda: None)
        seconds = time.perf_counter() - start
    assert all(outcome.target for outcome in outcomes), [outcome.error for outcome in outcomes]
    return {"command": seconds, "one": alone}


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Returns the figures of all rounds, each part in a process of its own."""
    rounds: list[dict[str, float]] = []
    for _ in range(options.rounds):
        figures = {}
        for part in ("floor", "command"):
            words = [sys.executable, "-m", "comparisons.colorize", "--part", part, "--folder", options.folder]
            words += ["--results", options.results, "--format", options.format]
            words += ["--checkpoint", options.checkpoint] if options.checkpoint else []
            process = subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
            figures |= json.loads(process.stdout.splitlines()[-1])
        rounds.append(figures)
    return {
        "pictures": options.pictures,
        "cores": len(os.sched_getaffinity(0)),
        "format": options.format,
        "pictures_per_second": options.pictures / statistics.median(row["command"] for row in rounds),
        "of_floor": statistics.median(row["floor"] / row["command"] for row in rounds),
        "one_by_floor": statistics.median(row["one"] / row["one_floor"] for row in rounds),
        "all_rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=24, help="how many (default: 24)")
    parser.add_argument("--rounds", type=int, default=3, help="of floor and command in turn (default: 3)")
    parser.add_argument("--format", default="jpeg", help="of the results (default: jpeg)")
    parser.add_argument("--checkpoint", help="as of palgan colorize (default: the bundled one)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--quick", action="store_true", help="few small pictures, one round: figures mean nothing")
    parser.add_argument("--part", choices=("floor", "command"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--results", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps({"floor": floor, "command": command}[options.part](options)))
        return
    if options.quick:
        options.pictures, options.rounds = min(options.pictures, 3), 1
    with tempfile.TemporaryDirectory() as folder:
        options.folder, options.results = f"{folder}/pictures", f"{folder}/results"
        make_pictures(Path(options.folder), options.pictures, QUICK_SIZE if options.quick else SIZE)
        first = [str(path) for path in sorted(Path(options.folder).glob("*.jpg"))[:2]]
        words = [sys.executable, "-m", "palgan_jax.cli", "colorize", *first, "--output", options.results]
        words += ["--checkpoint", options.checkpoint] if options.checkpoint else []
        subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        figures = measure(options)
    tell(figures, 22, options.json, hidden=["all_rounds"])


if __name__ == "__main__":
    main()
