"""Runs the demo of `make demo`: training, resuming and colorizing, on the bundled pictures.

Trains the demo config on the bundled photographs, stops it half-way and resumes it with the same command. Then
colorizes the bundled samples, which no training has seen, with the bundled model and with that of these minutes, and
draws them as a contact sheet: OUTPUT/sheet.png and OUTPUT/index.html.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "examples" / "samples"
STOPPED = 75  # the exit code of a run that was stopped early and saved


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "demo", help="where all results go")
    output = parser.parse_args().output.resolve()
    workdir = output / "run"
    past_half = half_way(workdir)
    if past_half():
        say("An earlier demo has trained this far already; the same command goes on where it ended.")
        train(workdir)
    else:
        say("Training the demo config on the bundled photographs; it is stopped half-way on purpose.")
        train(workdir, until=past_half)
        say("Stopped. The same command goes on where it ended:")
        train(workdir)
    say("Colorizing the samples, which no training has seen, with the bundled model and with the one just trained.")
    sheet = draw(output, workdir)
    say(f"Done. The contact sheet is {sheet}, and the page to open in a browser is {output / 'index.html'}.")
    return 0


def say(text: str) -> None:
    print(f"\n{text}", flush=True)


def half_way(workdir: Path):
    """Returns a function that is True once half of the run's steps are done."""
    from palgan_jax.config import load_config

    steps = int(load_config("demo").total.split()[0])

    def reached() -> bool:
        rows = metrics(workdir)
        return bool(rows) and rows[-1]["step"] >= steps / 2

    return reached


def metrics(workdir: Path) -> list[dict]:
    path = workdir / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def train(workdir: Path, until=None) -> None:
    """Runs the training command, and sends it SIGTERM where `until()` is True before it ends."""
    command = [sys.executable, "-m", "palgan_jax.main", "--config", "demo", "--workdir", str(workdir)]
    print("$ palgan train --config demo --workdir", workdir, flush=True)
    signaled = False
    with subprocess.Popen(command, cwd=ROOT) as process:
        while process.poll() is None:
            if until is not None and not signaled and until():
                process.send_signal(signal.SIGTERM)
                signaled = True
            time.sleep(0.2)
    if process.returncode and not (signaled and process.returncode == STOPPED):
        sys.exit(process.returncode)


RIVALS = {"_gray": "gray", "_mean_ab": "mean color"}
"""Suffix of a metric's name -> what its PSNR is that of, which a model has to beat."""


def draw(output: Path, workdir: Path) -> Path:
    """Colorizes the samples with both models, and writes the contact sheet with the curves of the run."""
    from palgan_jax.colorize.predictor import Colorizer
    from palgan_jax.data.decode import read_rgb
    from palgan_jax.pages import Curve, Row, read_credits, write_sheet
    from palgan_jax.util.platforms import leave_out_absent_tpus

    leave_out_absent_tpus()
    bundled, trained = Colorizer.load(), Colorizer.load(workdir)
    credits, rows = read_credits(SAMPLES / "ATTRIBUTION.md"), []
    for path in sorted(SAMPLES.glob("*.jpg")):
        truth = read_rgb(path)
        result = bundled(truth)
        paintings = {"bundled model": result.pixels, "demo run": trained(truth).pixels}
        credit = credits.get(path.name, "")
        rows.append(Row(path.stem, in_gray(truth), paintings, truth, result.palette, credit=credit))
    lines = metrics(workdir)
    validation = next(row for row in reversed(lines) if "val/psnr" in row)
    curves = [
        Curve(
            title,
            [row["step"] for row in lines if name in row],
            [row[name] for row in lines if name in row],
            [(rival, validation[f"val/psnr{suffix}"]) for suffix, rival in RIVALS.items() if "psnr" in name],
        )
        for name, title in [
            ("loss/l1", "demo run: color loss (10 x L1)"),
            ("loss/palette", "demo run: palette loss"),
            ("val/psnr", "demo run: PSNR on the samples, dB"),
            ("val/psnr_truth_palette", "demo run: PSNR with the truth's palette, dB"),
        ]
    ]
    notes = [
        f"Bundled model, and palettes: {bundled.source}.",
        f"Demo run, and curves: {lines[-1]['step']} steps on the bundled photographs, which teach little.",
    ]
    return write_sheet(rows, output, "PalGAN in JAX: the samples", notes, curves=curves)


def in_gray(rgb: np.ndarray) -> np.ndarray:
    """Returns the picture without its colors, at the same luminance L."""
    from palgan_jax.colorize.join import join, luminance

    return join(luminance(rgb), np.zeros((2, 2, 2), np.float32))


if __name__ == "__main__":
    sys.exit(main())
