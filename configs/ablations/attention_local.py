"""Ablation row "CA: local only": chromatic attention without its global interaction.

The paper reports PSNR 24.52, SSIM .924, LPIPS .146, FID 9.97 (COCO-Stuff; see README.md here). Otherwise
configs/coco256.py, and as long a run.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

coco256 = runpy.run_path(str(Path(__file__).parents[1] / "coco256.py"))


def get_config(arg: str = "") -> ConfigDict:
    config = coco256["get_config"](arg)
    config.net.attention = "local"
    return config
