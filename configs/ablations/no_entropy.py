"""Ablation row "wo E(h^)": without the entropy term on the predicted palette.

The paper reports PSNR 24.58, SSIM .924, LPIPS .149, FID 8.17 (COCO-Stuff; see README.md here). Otherwise
configs/coco256.py, and as long a run.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

coco256 = runpy.run_path(str(Path(__file__).parents[1] / "coco256.py"))


def get_config(arg: str = "") -> ConfigDict:
    config = coco256["get_config"](arg)
    config.loss.entropy = 0.0
    return config
