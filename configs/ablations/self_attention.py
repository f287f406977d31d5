"""Ablation row "w SA": plain self-attention in place of chromatic attention.

The paper reports PSNR 22.68, SSIM .892, LPIPS .175, FID 9.02 (COCO-Stuff; see README.md here). Otherwise
configs/coco256.py, and as long a run.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

coco256 = runpy.run_path(str(Path(__file__).parents[1] / "coco256.py"))


def get_config(arg: str = "") -> ConfigDict:
    config = coco256["get_config"](arg)
    config.net.attention = "self"
    return config
