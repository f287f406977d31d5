"""The small mode of benchmarks/input_pipeline.py: that it runs and what it writes, not how fast anything is."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "input_pipeline.py"


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed here")
def test_small_benchmark_measures_and_says_what_is_missing(tmp_path):
    figures, folder = tmp_path / "figures.json", tmp_path / "jpegs"
    command = [sys.executable, SCRIPT, "--quick", "--json", figures, "--folder", folder, "--only"]
    command += ["floor_threads", "floor_processes", "ours", "ours_memory", "torch"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "PyTorch DataLoader" in done.stderr and "pip install -r requirements-benchmark.txt" in done.stderr
    result = json.loads(figures.read_text())
    assert 0.05 < result["of_decode_floor"] < 5
    assert result["versus_torch"] is None and result["versus_tfdata"] is None
    assert abs(result["rss_growth_mb"]) < 200 and 10 < result["worker_mb"] < 1000
    rates = result["pictures_per_second"]
    fastest = max(rates["floor_threads"], rates["floor_processes"])
    assert result["of_decode_floor"] == pytest.approx(rates["ours"] / fastest, rel=0.01)
    sizes = set()
    for path in folder.glob("*.jpg"):
        with Image.open(path) as picture:
            sizes.add(picture.size)
    assert sizes <= {(500, 375), (375, 500)}
