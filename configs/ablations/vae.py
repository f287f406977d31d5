"""Ablation row "VAE": a random code in place of the palette, inferred from the truth while training.

The paper reports PSNR 23.21, SSIM .905, LPIPS .179, FID 11.76 (COCO-Stuff; see README.md here). Otherwise
configs/coco256.py, and as long a run.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

coco256 = runpy.run_path(str(Path(__file__).parents[1] / "coco256.py"))


def get_config(arg: str = "") -> ConfigDict:
    config = coco256["get_config"](arg)
    config.model = "vae"
    return config
