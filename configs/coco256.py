"""COCO-Stuff at 256 x 256: the data set of the paper's ablations (see configs/ablations.py).

    palgan prepare coco --manual-dir DIR-OF-THE-ZIPS --data-dir ~/tensorflow_datasets   # once, see docs/data.md
    palgan train --config coco256 --workdir runs/coco256

Folders of the pictures serve as well: `--config.data.train=folder:/data/coco/train2017`, and data.val likewise.

Perceptual loss: `pip install -e '.[perceptual]'`, or `--config.loss.perceptual_weights=vgg16.pth`.

What to expect, estimated and not measured: 100 epochs of 118,287 pictures are 11.8 million pictures, 184,823 steps
and, at 207 GFLOP a picture, 2.4e18 operations. At a quarter of the peak rate of bfloat16, which is an assumption: 1.1
hours on 8 x A100, 8.7 hours on one, 0.9 hours on a TPU v5e-16.
The paper's figures for the 5,000 pictures of val2017 are in docs/method.md, section 10. The number of epochs is
inferred.
"""

from ml_collections import ConfigDict

from palgan_jax.config import default_config, variant


def get_config(arg: str = "") -> ConfigDict:
    config = default_config()
    config.data.train = "tfds:coco/2017@train"
    config.data.val = "tfds:coco/2017@validation"
    config.batch_size = 64
    config.total = "100 epochs"
    config.precision = "bfloat16"
    config.eval_every = "5 epochs"
    config.checkpoint_every = "2000 steps"
    config.sheet_every = "2000 steps"
    return variant(config, arg)
