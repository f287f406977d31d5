"""The paper's ablations, and those of this project: one config with the fields of one row changed, and as long a run.

    palgan train --config ablations:spade --workdir runs/spade                   # COCO-Stuff, as configs/coco256.py
    palgan train --config ablations:spade,photographs --workdir runs/spade-500   # minutes, on a few hundred photographs
    palgan train --config ablations:spade,runlocal --workdir runs/spade-small    # seconds, on a laptop

docs/method.md, section 10, has what each row of the paper changes and what the paper reports of it, and docs/results.md
what `python -m comparisons.ablations` measured on photographs. What a row leaves open was inferred: the patch
discriminator is the 70 x 70 one of pix2pix, SPADE's modulation sees the luminance, and the code of "AE" and "VAE" has
as many numbers as a palette has bins.
"""

from ml_collections import ConfigDict

from palgan_jax.config import load_config
from palgan_jax.errors import UserError

PAPER = {
    "autoencoder": {"model": "autoencoder"},
    "vae": {"model": "vae"},
    "self_attention": {"net.attention": "self"},
    "patch_discriminator": {"discriminator.kind": "patch"},
    "batch_norm": {"net.norm": "batch"},
    "spade": {"net.norm": "spade"},
    "no_entropy": {"loss.entropy": 0.0},
    "attention_none": {"net.attention": "none"},
    "attention_local": {"net.attention": "local"},
    "attention_global": {"net.attention": "global"},
}

OURS = {
    "palgan": {},
    "first_reading": {"net.guide": "convolution", "render_leak": 1.0, "discriminator.palette": "plain"},
    "palette_chain": {"palette.normalization": "max", "net.normalize_palette": False, "net.palette_scale": 1.0},
    "hellinger": {"loss.palette_kind": "hellinger"},
    "pretrained": {"net.encoder": "efficientnet_lite0"},
}
"""The default model, and its rivals of which the paper says nothing (method: sections 11 and 12)."""

ROWS = OURS | PAPER


def get_config(arg: str = "") -> ConfigDict:
    row, _, variant = arg.partition(",")
    if row not in ROWS:
        raise UserError(f"there is no ablation {row!r}: write ablations:ROW with one of {', '.join(ROWS)}.")
    config = _on_photographs() if variant == "photographs" else load_config(f"coco256:{variant}")
    config.update_from_flattened_dict(ROWS[row])
    return config


def _on_photographs() -> ConfigDict:
    """Returns the config of minutes on two CPU cores, whose data are to be named: data.train and data.val."""
    config = load_config("small")
    config.batch_size = 8
    config.net.width = config.discriminator.width = 0.125
    config.total = "500 steps"
    config.eval_every = config.checkpoint_every = config.sheet_every = "500 steps"
    config.keep = 1
    return config
