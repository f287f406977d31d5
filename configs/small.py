"""A small PalGAN with the paper's encoder, on about 500 photographs and two CPU cores.

    palgan prepare photographs
    palgan train --config small --workdir runs/small \
        --config.data.train=folder:photos/train --config.data.val=folder:photos/val

On 2 CPU cores the 3,000 steps take about 40 minutes. So few photographs do not teach this encoder what it sees;
`pretrained.py` has one that knows, and for many photographs there is `imagenet256.py`.
"""

from ml_collections import ConfigDict

from palgan_jax.config import default_config, variant


def get_config(arg: str = "") -> ConfigDict:
    config = default_config()
    config.resolution = 128
    config.batch_size = 16
    config.net.width = 0.25
    config.discriminator.width = 0.25
    config.loss.perceptual = 0.0
    config.optim.g_lr = 2e-4
    config.total = "3000 steps"
    config.data.min_scale = 0.2  # small crops: E overfits whole photographs within 800 steps
    config.log_every = "20 steps"
    config.eval_every = config.checkpoint_every = "200 steps"
    config.sheet_every = "400 steps"
    return variant(config, arg)
