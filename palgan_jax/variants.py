"""What stands behind the colon of `--config configs/x.py:runlocal`: the small variant that each config file has."""

from ml_collections import ConfigDict

from palgan_jax.errors import UserError


def variant(config: ConfigDict, name: str = "") -> ConfigDict:
    """The config itself for "", or changed in place to a run of seconds on a laptop's processor for "runlocal".

    "runlocal" keeps what makes the config its own (networks, losses, optimizer) and shrinks the rest. It needs no file
    but the photographs bundled in examples/, and so runs from the project's root. Raises UserError for other names.
    """
    if name == "runlocal":
        config.resolution = 64
        config.batch_size = 8
        config.accumulate = 1
        config.precision = "float32"
        config.net.width = 0.125
        config.discriminator.width = 0.125
        config.loss.perceptual = 0.0  # needs weights that are not bundled
        config.data.train = "folder:examples/photos"
        config.data.val = "folder:examples/samples"
        config.total = "20 steps"
        config.log_every = "5 steps"
        config.eval_every = config.checkpoint_every = config.sheet_every = "10 steps"
    elif name:
        raise UserError(
            f"there is no variant {name!r} of this config: leave out what follows the colon, or write runlocal."
        )
    return config
