"""Ablation row "CA: none": without chromatic attention, F goes on as it is.

The paper reports PSNR 21.93, SSIM .902, LPIPS .203, FID 9.90 (COCO-Stuff; see README.md here). Otherwise
configs/coco256.py, and as long a run.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

coco256 = runpy.run_path(str(Path(__file__).parents[1] / "coco256.py"))


def get_config(arg: str = "") -> ConfigDict:
    config = coco256["get_config"](arg)
    config.net.attention = "none"
    return config
