"""The run of `make demo`: the bundled photographs at 64 x 64, an eighth of the width, two minutes on two cores.

    palgan train --config demo --workdir demo/run

It shows how to train, not how well the method colorizes: 66 photographs are too few for more than green grass and
blue skies.
"""

from ml_collections import ConfigDict

from palgan_jax.config import default_config, variant


def get_config(arg: str = "") -> ConfigDict:
    config = variant(default_config(), "runlocal")
    config.batch_size = 16
    config.total = "400 steps"
    # So short a run needs larger steps than the paper's weeks.
    config.optim.g_lr = 1e-3
    config.optim.d_lr = 1e-3
    config.ema = 0.99
    config.log_every = "10 steps"
    config.eval_every = config.checkpoint_every = config.sheet_every = "100 steps"
    return variant(config, arg)
