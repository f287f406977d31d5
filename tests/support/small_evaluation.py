"""A small protocol, a small evaluation with known numbers, and pictures to show of it."""

from dataclasses import replace

import numpy as np
from PIL import Image

from palgan_jax.evaluation.protocols import PROTOCOLS
from palgan_jax.evaluation.record import Evaluation, Example
from tests.support.places import ROOT

SIDE = 64
SMALL = replace(PROTOCOLS["folder"], side=SIDE)
COUNT = 11
"""Photographs of the fixture `photographs`."""
SAMPLES = sorted((ROOT / "examples" / "samples").glob("*.jpg"))
NASTY = '</h3><script src="http://a.example/x.js">alert(1)</script>&amp;|`*\u202e\udcff.jpg'


def evaluation(count: int = 12, seed: int = 0, **changes) -> Evaluation:
    """`count` pictures with PSNR and CIEDE2000 drawn from `seed`, SSIM rising from 0.5 to 1, and a FID."""
    rng = np.random.default_rng(seed)
    values = {
        "ciede2000": rng.gamma(4, 2, count),
        "psnr": rng.normal(24, 3, count),
        "ssim": np.linspace(0.5, 1, count),
    }
    fields = {
        "system": "ours",
        "protocol": "folder",
        "protocol_exact": True,
        "list_sha256": "ab" * 32,
        "count": count,
        "resize": "squashed to 256 x 256",
        "palette": "automatic",
        "names": [f"{i:03d}.jpg" for i in range(count)],
        "values": values,
        "whole": {"fid": 12.25},
        "absent": {"lpips_alexnet": "its weights are not there."},
        "weights": {"inception": "cd" * 32},
        "facts": {"version": "1.2.3", "seed": 0},
    }
    return Evaluation(**{**fields, **changes})


def example(number: int) -> Example:
    """A sample photograph, half as colorful as its truth; every other one with a palette."""
    photograph = Image.open(SAMPLES[number % len(SAMPLES)]).convert("RGB")
    truth = np.asarray(photograph.resize((256, 256), Image.Resampling.BILINEAR))
    gray = np.repeat(np.asarray(photograph.convert("L").resize((256, 256)))[..., None], 3, axis=-1)
    predicted = ((truth.astype(int) + gray) // 2).astype(np.uint8)
    return Example(gray, predicted, truth, np.eye(256)[number % 256] if number % 2 else None)
