"""How fast training batches are made, beside bare JPEG decoding, PyTorch and tf.data on the same cores and pictures.

    python comparisons/input_pipeline.py [--json FILE]

Each contender runs in a process of its own, all in turn, several times; a ratio is the median of the rounds' ratios, so
that a machine whose speed drifts does not move it. All read the same JPEGs, made once from photographs, of ImageNet's
usual size (500 x 375 pixels, 110 KB), in random order, and make uint8 (64, 256, 256, 3) of random crops, half of them
mirrored. What is printed:

  of_decode_floor   our rate by that of simplejpeg decoding the same files from memory and doing nothing else, in
                    threads or processes, whichever is faster, with its defaults: the accurate DCT, and chroma
                    interpolated. Ours reads files, crops, resizes, mirrors and batches, but it decodes faster and less
                    exactly, with fastdct and fastupsample (data/decode.py says what that costs).
                    On a busy machine, look at of_decode_floor_by_cpu_time: processor time, both in threads.
  of_decode_floor_same_flags
                    the same, with a floor that decodes with fastdct and fastupsample, too: about the share of our
                    time that goes to decoding. All other figures of a floor are with the defaults.
  versus_torch      our rate by that of DataLoader with a worker a core, and torchvision's transforms on Pillow.
  versus_tfdata     our rate by that of tf.data.
  rss_growth_mb     by how much memory grows, workers included, over 50,000 pictures after the first epoch.

PyTorch and TensorFlow come from the extra comparisons; --torch-python and --tensorflow-python name other
environments that have them. Linux only: memory is read from /proc.
"""

import argparse
import datetime
import io
import json
import multiprocessing
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESOLUTION, BATCH = 256, 64
MIN_SCALE = 0.5
WIDTH, HEIGHT, TARGET_BYTES = 500, 375, 110_000
MISSING = 3  # exit code of a contender whose library isn't there


# ---------------------------------------------------------------- contenders: each returns pictures a second


def floor_threads(options: argparse.Namespace, read: bool = False, fast: bool = False) -> dict:
    work = _decoding(options, read)
    shares = [work[n :: options.cores] for n in range(options.cores)]
    threads = [threading.Thread(target=_decode_all, args=(share, fast)) for share in shares]
    _decode_all(work[:64], fast)
    start, cpu_before = time.perf_counter(), _cpu_seconds()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "rate": len(work) / (time.perf_counter() - start),
        "cpu_ms": (_cpu_seconds() - cpu_before) / len(work) * 1e3,
    }


def floor_files(options: argparse.Namespace) -> dict:
    return floor_threads(options, read=True)


def floor_threads_same_flags(options: argparse.Namespace) -> dict:
    return floor_threads(options, fast=True)


def floor_processes(options: argparse.Namespace, fast: bool = False) -> dict:
    work = _decoding(options, False)
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(options.cores + 1)
    shares = [work[n :: options.cores] for n in range(options.cores)]
    processes = [context.Process(target=_decode_behind, args=(gate, share, fast)) for share in shares]
    for process in processes:
        process.start()
    gate.wait()
    start = time.perf_counter()
    for process in processes:
        process.join()
    return {"rate": len(work) / (time.perf_counter() - start)}


def floor_processes_same_flags(options: argparse.Namespace) -> dict:
    return floor_processes(options, fast=True)


def _decode_behind(gate, work: list, fast: bool) -> None:
    _decode_all(work[:64], fast)
    gate.wait()
    _decode_all(work, fast)


def _decoding(options: argparse.Namespace, read: bool) -> list[tuple]:
    """What each sample of a run of ours asks of the decoder: bytes or path, least height and width."""
    from palgan_jax.data.crop import CropRule
    from palgan_jax.data.order import Order

    source = _source(options)
    paths = [options.folder / source.picture_name(i) for i in range(len(source))]
    data = paths if read else [path.read_bytes() for path in paths]
    order, rule, work = Order(source.parts, 0), CropRule(MIN_SCALE), []
    for n, draw in enumerate(rule.draws(0, 0, options.images)):
        i = order(n)
        width, height = source.sizes[i].tolist()
        reduction = rule.box(draw, width, height).reduction(width, height, RESOLUTION)
        work.append((data[i], -(-height // reduction), -(-width // reduction), reduction))
    return work


def _decode_all(work: list[tuple], fast: bool) -> None:
    import simplejpeg

    flags = {"fastdct": True, "fastupsample": True} if fast else {}
    for data, height, width, reduction in work:
        if isinstance(data, Path):
            data = data.read_bytes()
        simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width, min_factor=reduction, **flags)


def _source(options: argparse.Namespace):
    from palgan_jax.data.source import open_source

    return open_source(f"folder:{options.folder}", near_gray=0)


def ours(options: argparse.Namespace, workers: int | str = "auto") -> dict:
    from palgan_jax.data.train_batches import train_batches

    # Kept in memory, as so few pictures would be, nothing would be decoded after the first epoch.
    batches = train_batches(
        _source(options), resolution=RESOLUTION, batch_size=BATCH, seed=0, workers=workers, min_scale=MIN_SCALE,
        cache=False,
    )  # fmt: skip
    with batches:
        return _consume(batches, options.images, lambda batch: len(batch["rgb"])) | {"workers": batches.workers}


def ours_threads(options: argparse.Namespace) -> dict:
    return ours(options, 0)


def ours_workers(options: argparse.Namespace) -> dict:
    return ours(options, options.cores)


def ours_memory(options: argparse.Namespace) -> dict:
    """Memory before and after 50,000 pictures, in worker processes, where it would grow most."""
    from palgan_jax.data.train_batches import train_batches

    source = _source(options)
    with train_batches(
        source, resolution=RESOLUTION, batch_size=BATCH, seed=0, workers=options.cores, min_scale=MIN_SCALE, cache=False
    ) as batches:
        count_of_pictures, first, levels = 0, max(len(source), 16 * BATCH), []
        while count_of_pictures < first + options.memory_images:
            count_of_pictures += len(next(batches)["rgb"])
            if count_of_pictures >= first and (count_of_pictures // BATCH) % 8 == 0:
                levels.append(_memory(multiprocessing.active_children()))
        workers = [_private(child.pid) for child in multiprocessing.active_children() if child.pid]
        tenth = max(1, len(levels) // 10)
        growth = statistics.median(levels[-tenth:]) - statistics.median(levels[:tenth])
        return {"rss_growth_mb": growth / 1e6, "memory_mb": levels[-1] / 1e6, "worker_mb": max(workers) / 1e6}


def _memory(children: list) -> int:
    """Proportional set size of this process and its workers, bytes: what is shared counts once."""
    return sum(_smaps(pid, "Pss:") for pid in (os.getpid(), *(child.pid for child in children)))


def _private(pid: int) -> int:
    return _smaps(pid, "Private_Dirty:") + _smaps(pid, "Private_Clean:")


def _smaps(pid: int, key: str) -> int:
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith(key))


def torch(options: argparse.Namespace) -> dict:
    import torch
    from PIL import Image

    # With a torch for CPUs, PyPI's torchvision stops at import, because it describes operators that are not there. No
    # transform uses them.
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import transforms

    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(RESOLUTION, scale=(MIN_SCALE, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.PILToTensor(),
        ]
    )
    paths = sorted(options.folder.glob("*.jpg"))

    class Pictures(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, i: int) -> torch.Tensor:
            with Image.open(paths[i]) as picture:
                return transform(picture.convert("RGB"))

    data = Pictures()
    sampler = torch.utils.data.RandomSampler(data, replacement=True, num_samples=2 * options.images + 64 * BATCH)
    loader = torch.utils.data.DataLoader(
        data, batch_size=BATCH, sampler=sampler, num_workers=options.cores, multiprocessing_context="fork"
    )
    return _consume(iter(loader), options.images, len)


def tfdata(options: argparse.Namespace) -> dict:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import tensorflow as tf

    def load(path):
        data = tf.io.read_file(path)
        size = tf.image.extract_jpeg_shape(data)
        corner, extent, _ = tf.image.sample_distorted_bounding_box(
            size, tf.zeros([1, 0, 4]), area_range=(MIN_SCALE, 1.0), aspect_ratio_range=(3 / 4, 4 / 3), max_attempts=10,
            use_image_if_no_bounding_boxes=True, min_object_covered=0.0,
        )  # fmt: skip
        crop = tf.stack([corner[0], corner[1], extent[0], extent[1]])
        rgb = tf.image.decode_and_crop_jpeg(data, crop, channels=3)
        rgb = tf.image.resize(rgb, (RESOLUTION, RESOLUTION), antialias=True)
        return tf.image.random_flip_left_right(tf.cast(tf.round(rgb), tf.uint8))

    paths = sorted(str(path) for path in options.folder.glob("*.jpg"))
    data = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths)).repeat()
    data = data.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)
    limits = tf.data.Options()
    limits.threading.private_threadpool_size = options.cores
    return _consume(data.with_options(limits).as_numpy_iterator(), options.images, len)


def _consume(batches, images: int, count) -> dict:
    """Pictures a second, once what was made ahead during the start is used up, and processor time for each."""
    for _ in range(4 + 4 * len(os.sched_getaffinity(0))):
        next(batches)
    total, start, cpu_before = 0, time.perf_counter(), _cpu_seconds()
    while total < images:
        total += count(next(batches))
    return {"rate": total / (time.perf_counter() - start), "cpu_ms": (_cpu_seconds() - cpu_before) / total * 1e3}


def _cpu_seconds() -> float:
    """Processor time of this process and its worker processes until now."""
    total = 0
    for pid in (os.getpid(), *(child.pid for child in multiprocessing.active_children())):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


CONTENDERS = {
    "floor_threads": floor_threads,
    "floor_processes": floor_processes,
    "floor_files": floor_files,
    "floor_threads_same_flags": floor_threads_same_flags,
    "floor_processes_same_flags": floor_processes_same_flags,
    "ours": ours,
    "ours_threads": ours_threads,
    "ours_workers": ours_workers,
    "ours_memory": ours_memory,
    "torch": torch,
    "tfdata": tfdata,
}
WORDS = {
    "floor_threads": "simplejpeg alone, from memory, threads",
    "floor_processes": "simplejpeg alone, from memory, processes",
    "floor_files": "simplejpeg alone, reading files, threads",
    "floor_threads_same_flags": "simplejpeg alone, from memory, threads",
    "floor_processes_same_flags": "simplejpeg alone, from memory, processes",
    "ours": "ours, as it comes",
    "ours_threads": "ours, threads",
    "ours_workers": "ours, worker processes",
    "torch": "PyTorch DataLoader, torchvision on Pillow",
    "tfdata": "tf.data",
}
_FAST = "fastdct, fastupsample"
JPEG_FLAGS = {name: _FAST if name.startswith("ours") or name.endswith("_same_flags") else "defaults" for name in WORDS}
"""How each decodes, as its library is asked to."""


# ---------------------------------------------------------------- pictures


def make_pictures(photos: Path, folder: Path, count: int) -> None:
    """Writes `count` JPEGs of 500 x 375 (or 375 x 500) pixels and about 110 KB; the same from the same photographs."""
    from PIL import Image

    files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not files:
        sys.exit(f"{photos} holds no photographs: name another folder with --photos.")
    chance = random.Random(0)
    files = [path for path in files if _is_large(path)] or files

    def picture(n: int) -> Image.Image:
        with Image.open(files[n % len(files)]) as photo:
            rgb = photo.convert("RGB")
        size = (WIDTH, HEIGHT) if rgb.width >= rgb.height else (HEIGHT, WIDTH)
        # A photograph that is used again is shown from closer, so that no two files are the same.
        share = 1 - 0.2 * chance.random() * (n >= len(files))
        scale = share * min(rgb.width / size[0], rgb.height / size[1])
        w, h = size[0] * scale, size[1] * scale
        left, top = (chance.random() * max(0.0, room) for room in (rgb.width - w, rgb.height - h))
        box = (left, top, min(left + w, rgb.width), min(top + h, rgb.height))
        return rgb.resize(size, Image.Resampling.LANCZOS, box)

    def encode(rgb: Image.Image, quality: int) -> bytes:
        buffer = io.BytesIO()
        rgb.save(buffer, "JPEG", quality=quality)
        return buffer.getvalue()

    samples = [picture(n) for n in range(0, len(files), max(1, len(files) // 40))]
    qualities = range(80, 100)
    quality = min(qualities, key=lambda q: abs(statistics.mean(len(encode(p, q)) for p in samples) - TARGET_BYTES))
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        (folder / f"{n:05}.jpg").write_bytes(encode(picture(n), quality))
    print(f"made with JPEG quality {quality}")


def _is_large(path: Path) -> bool:
    from PIL import Image

    with Image.open(path) as photo:
        return max(photo.size) >= WIDTH and min(photo.size) >= HEIGHT * 0.7


def describe(folder: Path) -> str:
    sizes = [path.stat().st_size for path in folder.glob("*.jpg")]
    return f"{len(sizes)} JPEGs of {WIDTH} x {HEIGHT} pixels, {statistics.mean(sizes) / 1000:.0f} KB on average"


# ---------------------------------------------------------------- the comparison


def run(name: str, options: argparse.Namespace, python: str) -> dict | None:
    """A contender in a process of its own; None where its library is not installed."""
    command = [python, __file__, "--contender", name, "--folder", str(options.folder), "--cores", str(options.cores)]
    command += ["--images", str(options.images), "--memory-images", str(options.memory_images)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    if python == sys.executable:
        environment["PYTHONPATH"] = str(ROOT)
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if process.returncode == MISSING:
        return None
    if process.returncode:
        sys.exit(f"{name} failed:\n{process.stderr}")
    return json.loads(process.stdout.splitlines()[-1])


def compare(options: argparse.Namespace) -> tuple[dict, list[str]]:
    pythons = {"torch": options.torch_python, "tfdata": options.tensorflow_python}
    rates: dict[str, list[float]] = {name: [] for name in options.only if name != "ours_memory"}
    costs: dict[str, list[float]] = {name: [] for name in rates}
    missing, workers = [], None
    for number in range(options.rounds):
        for name in list(rates):
            result = run(name, options, pythons.get(name, sys.executable))
            if result is None:
                missing.append(name)
                del rates[name]
                continue
            rates[name].append(result["rate"])
            costs[name].append(result.get("cpu_ms", 0.0))
            workers = result["workers"] if name == "ours" else workers
            print(f"round {number + 1}  {_row(name, result['rate'])}", flush=True)
    rounded = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    result = {
        "of_decode_floor": _ratio(rates.get("ours"), _floor(rates, "")),
        "of_decode_floor_same_flags": _ratio(rates.get("ours"), _floor(rates, "_same_flags")),
        "of_decode_floor_by_cpu_time": _ratio(costs.get("floor_threads"), costs.get("ours_threads")),
        "of_decode_floor_from_files": _ratio(rates.get("ours"), rates.get("floor_files")),
        "versus_torch": _ratio(rates.get("ours"), rates.get("torch")),
        "versus_tfdata": _ratio(rates.get("ours"), rates.get("tfdata")),
        "rss_growth_mb": None,
        "jpeg_flags": {name: JPEG_FLAGS[name] for name in rates},
        "pictures_per_second": rounded,
        "pictures_per_second_per_core": {name: round(rate / options.cores, 1) for name, rate in rounded.items()},
        "cpu_ms_per_picture": {
            name: round(statistics.median(values), 3) for name, values in costs.items() if any(values)
        },
        "all_rounds": {name: [round(rate, 1) for rate in values] for name, values in rates.items()},
        "workers_as_it_comes": workers,
    }
    if "ours_memory" in options.only:
        memory = run("ours_memory", options, sys.executable) or {}
        result |= {name: round(value, 1) for name, value in memory.items()}
    return result, missing


def _row(name: str, rate: float) -> str:
    return f"{WORDS[name]:43}{JPEG_FLAGS[name]:22}{rate:8.0f} pictures/s"


def _floor(rates: dict[str, list[float]], flags: str) -> list[float]:
    """The faster of threads and processes in each round; empty where neither was measured."""
    floors = [rates[name] for name in (f"floor_threads{flags}", f"floor_processes{flags}") if name in rates]
    return [max(values) for values in zip(*floors, strict=True)]


def _ratio(own_rates: list[float] | None, rival_rates: list[float] | None) -> float | None:
    if not own_rates or not rival_rates:
        return None
    return round(statistics.median(a / b for a, b in zip(own_rates, rival_rates, strict=True)), 3)


def about(options: argparse.Namespace) -> dict:
    cpu = next((row for row in Path("/proc/cpuinfo").read_text().splitlines() if row.startswith("model name")), "")
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{options.cores} cores of {cpu.partition(':')[2].strip()}, {platform.system()}",
        "pictures": describe(options.folder),
        "resolution": RESOLUTION,
        "batch": BATCH,
        "versions": {name: _version(name) for name in ("simplejpeg", "opencv-python-headless", "grain", "numpy")}
        | {"python": platform.python_version()},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def parse(arguments: list[str] | None) -> argparse.Namespace:
    bundled, full_set = ROOT / "examples" / "photos", ROOT.parent / "shared" / "data" / "photos" / "train"
    parser = argparse.ArgumentParser(description="compares ways of making training batches from JPEGs")
    parser.add_argument(
        "--photos", type=Path, default=full_set if full_set.is_dir() else bundled, help="what the JPEGs show"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the JPEGs are made, or are already (default: made and removed)"
    )
    parser.add_argument("--count", type=int, default=1000, help="JPEGs to make")
    parser.add_argument("--images", type=int, default=6000, help="pictures that each contender takes a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-images", type=int, default=50_000)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)), help="that all may use")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="CONTENDER")
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has torch and torchvision")
    parser.add_argument("--tensorflow-python", default=sys.executable, help="an interpreter that has TensorFlow")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--quick", action="store_true", help="a few pictures, to see that it works")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.quick:
        options.count, options.images, options.rounds, options.memory_images = 24, 64, 1, 256
    return options


def contend(options: argparse.Namespace) -> int:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    try:
        print(json.dumps(CONTENDERS[options.contender](options)))
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        return MISSING
    return 0


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.contender:
        return contend(options)
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = options.folder or Path(temporary)
        if not any(options.folder.glob("*.jpg")):
            make_pictures(options.photos, options.folder, options.count)
        print(describe(options.folder), flush=True)
        result, missing = compare(options)
        result = {**result, **about(options)}
    print()
    for name, rate in result["pictures_per_second"].items():
        print(f"{_row(name, rate)}{rate / options.cores:8.0f} a core")
    print()
    for name in (
        "of_decode_floor",
        "of_decode_floor_same_flags",
        "of_decode_floor_by_cpu_time",
        "of_decode_floor_from_files",
        "versus_torch",
        "versus_tfdata",
        "rss_growth_mb",
    ):
        print(f"{name:30}{result[name]}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    for name in missing:
        print(
            f"{WORDS[name]} is left out, since it is not installed here: pip install -e '.[comparisons]', or "
            f"name a Python that has it with --{'torch' if name == 'torch' else 'tensorflow'}-python.",
            file=sys.stderr,
        )
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
