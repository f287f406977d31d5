"""Ablation row "w PatchD": a patch discriminator, which does not look at the palette.

The paper reports PSNR 23.07, SSIM .895, LPIPS .183, FID 8.44 (COCO-Stuff; see README.md here). Otherwise
configs/coco256.py, and as long a run.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

coco256 = runpy.run_path(str(Path(__file__).parents[1] / "coco256.py"))


def get_config(arg: str = "") -> ConfigDict:
    config = coco256["get_config"](arg)
    config.discriminator.kind = "patch"
    return config
