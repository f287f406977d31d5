"""Ablation row "w SPADE": scale and shift from the luminance, pixel by pixel, in place of PalNorm.

The paper reports PSNR 24.06, SSIM .916, LPIPS .167, FID 7.90 (COCO-Stuff; see README.md here). Otherwise
configs/coco256.py, and as long a run.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

coco256 = runpy.run_path(str(Path(__file__).parents[1] / "coco256.py"))


def get_config(arg: str = "") -> ConfigDict:
    config = coco256["get_config"](arg)
    config.net.norm = "spade"
    return config
