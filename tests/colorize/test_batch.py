"""Many pictures with one command: the order of work, memory, Ctrl-C, and the report."""

import html
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palgan_jax.colorize.batch import Outcome, do_jobs
from palgan_jax.colorize.pixel_budget import PixelBudget, pixels_at_once
from palgan_jax.colorize.record import RECORD_FILE
from palgan_jax.data.decode import read_rgb
from palgan_jax.palette.palette import Palette
from tests.support.places import COMPILATION_CACHE, ROOT

PATIENCE = 600
"""Seconds: a busy machine fails no test."""
ENVIRONMENT = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(COMPILATION_CACHE)}


@pytest.fixture
def album(tmp_path, monkeypatch):
    """Seven pictures in the current folder, of which three cannot be read."""
    monkeypatch.chdir(tmp_path)
    Path("album").mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(f"album/{number}.jpg")
    Path("album/bad-text.jpg").write_text("x")
    Path("album/bad-empty.jpg").touch()
    content = Path("album/0.jpg").read_bytes()
    Path("album/bad-cut.jpg").write_bytes(content[: len(content) // 2])
    return tmp_path


def command(checkpoint: Path, *words: object) -> list[str]:
    return [sys.executable, "-m", "palgan_jax.cli", "colorize", "--checkpoint", str(checkpoint), *map(str, words)]


# --------------------------------------------------------------------------------------------------- the whole batch


def test_what_cannot_be_read_is_listed_at_the_end_and_the_rest_is_done(album, palgan):
    code, out, err = palgan("album", output="out")
    assert code == 2 and out.splitlines()[-1] == "Colorized 4 of 7 pictures into out."
    assert sorted(line.split()[2] for line in err) == [f"album/bad-{kind}.jpg" for kind in ("cut", "empty", "text")]
    assert sorted(path.stem for path in Path("out").glob("*.png")) == ["0", "1", "2", "3"]
    code, out, err = palgan("album", output="out")
    assert code == 2 and len(err) == 3
    assert out.splitlines()[-1] == "Colorized 0 of 3 pictures into out, 4 more were done before."


def test_what_cannot_be_recorded_is_not_left_behind(album, palgan):
    (Path("out") / RECORD_FILE).mkdir(parents=True)
    code, _, err = palgan("album/0.jpg", output="out")
    assert code == 2 and f"{RECORD_FILE} cannot be written" in err[0]
    assert [path.name for path in Path("out").iterdir()] == [RECORD_FILE]
    (Path("out") / RECORD_FILE).rmdir()
    code, _, _ = palgan("album/0.jpg", output="out")
    assert code == 0 and sorted(path.name for path in Path("out").iterdir()) == [RECORD_FILE, "0.png"]


def test_the_report_is_data_and_a_page(album, palgan):
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save("album/<b>.png")
    palgan("album/1.jpg", output="out")
    code, _, _ = palgan("album", output="out", options=["--report=reports/report.json"])
    assert code == 2
    report = json.loads(Path("reports/report.json").read_text())
    assert report["counts"] == {"failed": 3, "done before": 1, "colorized": 4}
    assert "tiny.safetensors" in report["checkpoint"]
    rows = {row["source"]: row for row in report["pictures"]}
    assert len(rows) == 8
    assert rows["album/0.jpg"]["result"] == "out/0.png" and rows["album/0.jpg"]["width"] == 60
    assert rows["album/1.jpg"]["status"] == "done before" and rows["album/0.jpg"]["seconds"] > 0
    assert "is empty" in rows["album/bad-empty.jpg"]["error"]
    page = Path("reports/report.html").read_text()
    assert page.count("data:image/") == 10 and page.count("<li>album/bad-") == 3
    assert "album/&lt;b&gt;.png" in page and "<b>" not in page
    palgan("album", output="out", options=["--report=reports/report.html"])  # over its own
    assert json.loads(Path("reports/report.json").read_text())["counts"] == {"failed": 3, "done before": 5}


def test_the_options_of_a_report_make_the_results_again(album, palgan):
    Palette.from_colors(["teal", "#c04040"]).save("two of them.json")
    options = ["--palette", "two of them.json", "--edit", "shift hue=20; boost teal 2", "--saturation=0.5", "--seed=3"]
    options += ["--samples", 1, "--point", "3,4=#c03030", "--point=9,9=gold", "--restore-contrast", "--format=jpeg"]
    options += ["--max-megapixels", 0.5, "--pages=all", "--engine", "jax"]
    pictures = Path("album/0.jpg"), Path("album/1.jpg")
    assert palgan(*pictures, output="out", options=[*options, "--report=out/r.json", "--overwrite"])[0] == 0
    words = json.loads(Path("out/r.json").read_text())["options"]
    assert len(words) == 13 and all(word.startswith("--") for word in words)  # the checkpoint is one
    page = html.unescape(Path("out/r.html").read_text())
    assert shlex.split(re.search("<li>options: (.*?)</li>", page)[1]) == words
    assert palgan(*pictures, output="again", options=[*words, "--report=again/r.json"], checkpoint=None)[0] == 0
    results = {path.name: path.read_bytes() for path in Path("out").glob("*.jpg")}
    assert len(results) == 6
    assert results == {path.name: path.read_bytes() for path in Path("again").glob("*.jpg")}
    assert json.loads(Path("again/r.json").read_text())["options"] == words

    assert palgan(pictures[0], output="boat.webp", options=["--report=out/one.json", "--engine=jax"])[0] == 0
    words = json.loads(Path("out/one.json").read_text())["options"]
    assert "--format=webp" in words
    assert palgan(pictures[0], output="one", options=words, checkpoint=None)[0] == 0
    assert Path("one/0.webp").read_bytes() == Path("boat.webp").read_bytes()


def test_a_report_says_where_its_paths_begin(album, palgan, monkeypatch):
    palgan("album/0.jpg", output="out", options=["--report=r.json"])
    report = json.loads(Path("r.json").read_text())
    assert f"<li>folder: {Path.cwd()}</li>" in html.unescape(Path("r.html").read_text())
    gone = album / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    (row,) = report["pictures"]
    assert all(Path(report["folder"], row[name]).is_file() for name in ("source", "result"))
    gone.rmdir()
    assert palgan(album / "album" / "1.jpg", output=album / "out", options=["--report", album / "r.json"])[0] == 0
    assert "folder" not in json.loads((album / "r.json").read_text())


def test_a_report_replaces_no_file_of_somebody(album, palgan):
    Path("report.html").write_text("<p>mine</p>")
    for name in ("report.json", "report.html", "report.txt"):
        code, _, err = palgan("album/0.jpg", output="out", options=["--report", name])
        assert code == 2 and len(err) == 1 and "report" in err[0] and not Path("out").exists()
    assert Path("report.html").read_text() == "<p>mine</p>" and not Path("report.json").exists()


def test_results_do_not_depend_on_what_else_is_in_hand(album, palgan):
    palgan("album", output="together")
    for name in "0123":
        palgan(f"album/{name}.jpg", output="alone")
        assert np.array_equal(read_rgb(f"together/{name}.png"), read_rgb(f"alone/{name}.png"))


# ------------------------------------------------------------------------------------------------------------- Ctrl-C


def test_ctrl_c_says_what_is_done_and_the_same_command_goes_on(album, checkpoint):
    pixels = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    Path("large").mkdir()
    for number in range(60):
        Image.fromarray(np.roll(pixels, number, 1)).save(f"large/{number:02}.png", compress_level=0)
    words = command(checkpoint, "large", "--output", "out", "--report", "report.json")
    process = subprocess.Popen(
        words, env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(3)]
    assert " -> out/" in first[-1], first
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and "Traceback" not in err
    finished = sorted(path.name for path in Path("out").glob("*.png"))
    assert 2 <= len(finished) < 60
    lines = out.splitlines()
    assert "Stopping after the pictures in hand. Ctrl-C again ends at once." in lines
    assert lines[-1] == f"Stopped with {len(finished)} pictures done: the same command goes on with the others."
    assert sorted(path.name for path in Path("out").iterdir()) == [RECORD_FILE, *finished], "nothing half done"
    assert all(read_rgb(Path("out") / name).shape == (700, 900, 3) for name in finished)
    report = json.loads(Path("report.json").read_text())
    assert report["counts"] == {"colorized": len(finished), "not done": 60 - len(finished)}
    not_done = [picture["source"] for picture in report["pictures"] if picture["status"] == "not done"]
    assert not_done == sorted(not_done) and not {Path(name).name for name in not_done} & set(finished)
    for path in sorted(Path("large").iterdir())[len(finished) + 2 :]:
        path.unlink()  # enough of them
    second = subprocess.run(words, env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert second.returncode == 0 and second.stdout.count("is done already") >= len(finished) - 4
    assert len(list(Path("out").glob("*.png"))) >= len(finished)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_at_a_signal_pictures_in_hand_are_told_and_no_other_begins(number):
    starts, messages, stops = [], [], []

    class SlowWorker:
        stop, all_begun = threading.Event(), threading.Barrier(3)

        def __call__(self, job, _):
            starts.append(job)
            self.all_begun.wait(PATIENCE)
            if job == 2:
                for _ in range(1 if number == signal.SIGINT else 2):
                    os.kill(os.getpid(), number)
            stops.append(self.stop.wait(PATIENCE))
            return Outcome(job)

    jobs = [(number, 1) for number in range(20)]
    previous = signal.signal(number, signal.default_int_handler)  # whoever started the tests may ignore it
    try:
        assert do_jobs(jobs, SlowWorker(), 3, messages.append, lambda: None) is False
    finally:
        signal.signal(number, previous)
    assert stops == [True] * 3
    assert sorted(starts) == [0, 1, 2] == sorted(outcome.job for outcome in messages)


def test_a_fault_ends_the_batch():
    class FaultyWorker:
        stop = threading.Event()

        def __call__(self, job, _):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        do_jobs([(number, 1) for number in range(20)], FaultyWorker(), 2, print, print)
    assert FaultyWorker.stop.is_set()


# ------------------------------------------------------------------------------------------------- progress and memory


def test_a_terminal_has_a_bar_with_rate_and_time_left(album, checkpoint):
    reader, terminal = pty.openpty()
    termios.tcsetwinsize(reader, (24, 100))
    words = command(checkpoint, "album", "--output", "out")
    with subprocess.Popen(
        words, env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=terminal, text=True
    ) as process:
        os.close(terminal)
        output, _ = process.communicate()
    screen = b""
    try:
        while piece := os.read(reader, 65536):
            screen += piece
    except OSError:
        pass
    os.close(reader)
    assert process.returncode == 2
    bar = screen.decode()
    assert "colorizing" in bar and "5/5" in bar and ("picture/s" in bar or "s/picture" in bar)
    assert output.count(" -> ") == 4


def test_pictures_share_the_memory():
    budget, most, total, lock = PixelBudget(100), 0, 0, threading.Lock()

    def hold(amount):
        nonlocal most, total
        with budget.share(amount):
            with lock:
                total += min(amount, 100)
                most = max(most, total)
            time.sleep(0.001)
            with lock:
                total -= min(amount, 100)

    threads = [threading.Thread(target=hold, args=(amount,)) for amount in (10, 60, 50, 1000, 30, 100, 1, 99) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert 0 < most <= 100 and total == 0
    assert pixels_at_once() >= 64_000_000
