"""The smallest model that is all there, for tests and for trying things out: seconds on a laptop."""

from ml_collections import ConfigDict

from palgan_jax.config import default_config


def get_config(variant: str = "") -> ConfigDict:
    del variant  # it runs locally as it is
    config = default_config()
    config.resolution = 64
    config.batch_size = 8
    config.net.width = config.discriminator.width = 1 / 16
    config.loss.perceptual = 0.0
    config.total = "20 steps"
    config.log_every = "5 steps"
    config.eval_every = config.checkpoint_every = config.sheet_every = "10 steps"
    config.data.train = "folder:examples/photos"
    config.data.val = "folder:examples/samples"
    return config
