"""Ablation row "AE": a free code of the luminance in place of the palette, learned from the other losses alone.

The paper reports PSNR 25.89, SSIM .928, LPIPS .146, FID 14.15 (COCO-Stuff; see README.md here). Otherwise
configs/coco256.py, and as long a run.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

coco256 = runpy.run_path(str(Path(__file__).parents[1] / "coco256.py"))


def get_config(arg: str = "") -> ConfigDict:
    config = coco256["get_config"](arg)
    config.model = "autoencoder"
    return config
