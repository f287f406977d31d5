"""The paper's ablations on COCO-Stuff: `configs/coco256.py` with one field changed, and as long a run.

    palgan train --config ablations:spade --workdir runs/spade
    palgan train --config ablations:spade,runlocal --workdir runs/spade-small    # seconds, on a laptop

docs/method.md, section 10, has what each row changes and what the paper reports of it. What a row leaves open was
inferred: the patch discriminator is the 70 x 70 one of pix2pix, SPADE's modulation sees the luminance, and the code of
"AE" and "VAE" has as many numbers as a palette has bins.
"""

from ml_collections import ConfigDict

from palgan_jax.config import load_config
from palgan_jax.errors import UserError

ROWS = {
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


def get_config(arg: str = "") -> ConfigDict:
    row, _, variant = arg.partition(",")
    if row not in ROWS:
        raise UserError(f"there is no ablation {row!r}: write ablations:ROW with one of {', '.join(ROWS)}.")
    config = load_config(f"coco256:{variant}")
    config.update_from_flattened_dict(ROWS[row])
    return config
