"""The smallest run with every part of training: seconds on any processor once compiled, on bundled photographs.

    palgan train --config tiny --workdir runs/tiny

Its colors are worthless. It tests an installation, a cluster or a change.
"""

from ml_collections import ConfigDict

from palgan_jax.config import default_config, variant


def get_config(arg: str = "") -> ConfigDict:
    config = variant(default_config(), "runlocal")
    config.net.width = config.discriminator.width = 1 / 16
    return variant(config, arg)
