"""The smallest run that goes through everything: seconds on any processor once it is compiled, with bundled
photographs.

    palgan train --config configs/tiny.py --workdir runs/tiny

Its colors are worth nothing. It is there to see whether an installation, a cluster or a change works.
"""

from ml_collections import ConfigDict

from palgan_jax.config import default_config, variant


def get_config(arg: str = "") -> ConfigDict:
    config = variant(default_config(), "runlocal")
    config.net.width = config.discriminator.width = 1 / 16
    return variant(config, arg)
