"""How a model is trained further on a folder: steps, batch and rates that follow from its size and the machine."""

from pathlib import Path

from ml_collections import ConfigDict

from palgan_jax.config import default_config, flatten, is_of, model_fields
from palgan_jax.finetune.split import ASIDE, TRAIN

EPOCHS = 20
FEWEST_STEPS, MOST_STEPS, MOST_STEPS_ON_CPU = 60, 20_000, 1_500
BATCH, BATCH_ON_CPU = 32, 8
RATE = 0.2
"""The share of the learning rate that the model began with."""
FREEZE_BELOW = 1000
"""With fewer photographs a pretrained encoder stays as it is: what it sees, it has learned from a million."""
WHOLE_ENCODER = 17
PALETTE, CELLS = 2.0, 1.0
"""The weights of the losses of palettes, where the last run of the model left its palettes as they were."""

AS_TRAINED = (
    "resolution", "render_leak", "ema", "predicted_share", "recolored_share", "loss", "optim", "data.luminance_jitter",
    "data.film_share", "data.min_scale",
)  # fmt: skip
"""Fields (or groups of fields) that stay as in the training of the model, beside those that make it what it is."""


def choose(model: ConfigDict, start: str, run: Path, photographs: int, devices: int, on_cpu: bool) -> ConfigDict:
    """Returns the config that trains a model further on so many photographs.

    Args:
      model: the model's own config.
      start: what `--from` names it by.
      run: the folder of the run, with the lists of `split.split_folder`.
      photographs: their number, without those that are kept aside.
      devices: the number of devices that share a batch.
      on_cpu: whether these are CPUs.
    """
    config = default_config()
    as_trained = {name: value for name, value in flatten(model).items() if is_of(name, AS_TRAINED)}
    config.update_from_flattened_dict(model_fields(model) | as_trained)
    config.start = start
    config.data.train, config.data.val = f"list:{run / TRAIN}", f"list:{run / ASIDE}"

    batch = min(BATCH_ON_CPU if on_cpu else BATCH, photographs)
    config.batch_size = devices * max(1, batch // devices)
    steps = round(EPOCHS * photographs / config.batch_size)
    steps = min(max(steps, FEWEST_STEPS), MOST_STEPS_ON_CPU if on_cpu else MOST_STEPS)
    config.total = f"{steps} steps"
    config.precision = "float32" if on_cpu else "bfloat16"

    config.optim.g_lr = RATE * model.optim.g_lr
    config.optim.decay, config.optim.decay_from, config.optim.encoder_from = "cosine", "0%", "0%"
    if config.net.encoder != "paper":
        config.net.palette_dropout = model.net.palette_dropout
        config.net.frozen_blocks = WHOLE_ENCODER if photographs < FREEZE_BELOW else model.net.frozen_blocks
        if not config.loss.palette:
            config.loss.palette, config.loss.cells = PALETTE, CELLS
    # A discriminator would have to learn first what colors look like, and knows a few photographs by heart before that.
    config.loss.adversarial = 0.0
    config.discriminator.width = 1 / 16
    config.loss.perceptual = 0.0  # its network need not be there

    # The last step counts, and no best one: chosen by the pictures that are kept aside, it would look better on them
    # than it is.
    config.best = ""
    config.keep = 1
    config.log_every = "5 steps"
    config.eval_every = config.checkpoint_every = "25%"
    config.sheet_every = "0 steps"
    return config
