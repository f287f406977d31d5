"""A run on a folder of your own photographs, with subfolders or without, on one accelerator.

    palgan train --config folder --workdir runs/mine \
        --config.data.train=folder:/path/to/photos --config.data.val=folder:/path/to/other/photos

Leave data.val out to train without validation. The full networks at 256 x 256; where memory is short, halve
batch_size or net.width, or set accumulate=2. A few thousand photographs are a fair start, and color gets better with
more. The perceptual loss is off, so that nothing has to be downloaded; with the extra `perceptual` installed,
`--config.loss.perceptual=1` makes colors crisper at about twice the time.

What to expect, estimated and not measured: 100,000 steps of 16 pictures at 96 GFLOP a picture are 1.5e17 operations,
which at a quarter of its peak rate takes an A100 half an hour, or an RTX 4090 (165 TFLOP/s) one hour. Without an
accelerator take `--config.resolution=64 --config.net.width=0.25 --config.discriminator.width=0.25
--config.precision=float32`.
"""

from ml_collections import ConfigDict

from palgan_jax.config import default_config, variant


def get_config(arg: str = "") -> ConfigDict:
    config = default_config()
    config.batch_size = 16
    config.total = "100000 steps"
    config.precision = "bfloat16"
    config.loss.perceptual = 0.0
    config.log_every = "100 steps"
    config.eval_every = config.checkpoint_every = config.sheet_every = "1000 steps"
    return variant(config, arg)
