"""Ablation row "CA: global only": chromatic attention without its local delineation.

The paper reports PSNR 23.32, SSIM .907, LPIPS .174, FID 8.34 (COCO-Stuff; see README.md here). Otherwise
configs/coco256.py, and as long a run.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

coco256 = runpy.run_path(str(Path(__file__).parents[1] / "coco256.py"))


def get_config(arg: str = "") -> ConfigDict:
    config = coco256["get_config"](arg)
    config.net.attention = "global"
    return config
