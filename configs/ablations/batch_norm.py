"""Ablation row "w BN": batch norm with its own scale and shift in place of PalNorm.

The paper reports PSNR 22.36, SSIM .895, LPIPS .209, FID 9.97 (COCO-Stuff; see README.md here). Otherwise
configs/coco256.py, and as long a run.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

coco256 = runpy.run_path(str(Path(__file__).parents[1] / "coco256.py"))


def get_config(arg: str = "") -> ConfigDict:
    config = coco256["get_config"](arg)
    config.net.norm = "batch"
    return config
