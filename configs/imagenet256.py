"""The paper's run: ImageNet at 256 x 256 (Wang et al., ECCV 2022), evaluated on ctest10k and on the 50,000 of val.

    palgan prepare imagenet --manual-dir DIR-OF-THE-TARS --data-dir ~/tensorflow_datasets   # once, see docs/data.md
    palgan train --config imagenet256 --workdir runs/imagenet256

Perceptual loss: `pip install -e '.[perceptual]'`, or `--config.loss.perceptual_weights=vgg16.pth`.

What to expect, estimated and not measured. One picture costs 207 GFLOP a step as XLA counts them (111 of them in
VGG16); 30 epochs of 1,281,167 pictures are 38.4 million pictures, 600,547 steps and 8.0e18 operations. At a quarter
of the peak rate of bfloat16, which is an assumption:

    8 x A100 (312 TFLOP/s each)       3.5 hours, reading 3,000 pictures a second
    1 x A100                         28 hours, 380 pictures a second
    TPU v5e-16 (197 TFLOP/s a chip)   2.8 hours, 3,800 pictures a second

At these rates decoding may be what limits: a core decodes some 500 to 1,400 JPEG files a second, so give each
accelerator at least two. The paper's figures are in docs/method.md, section 10. Batch
size, epochs and learning rates are not in what is public of the paper: those here are inferred.

`imagenet256:pretrained` is the same run with EfficientNet-Lite0 in the place of the paper's encoder, and with the
losses of its palette that a few hundred photographs were best with (docs/method.md, section 12). What kept those from
being learned by heart is left out: dropout, recoloring, changed tones, weight decay and frozen blocks. G and D, their
losses and rates are the paper's. It needs `pip install -e '.[pretrained]'`.
"""

from ml_collections import ConfigDict

from palgan_jax.config import default_config, variant


def get_config(arg: str = "") -> ConfigDict:
    config = default_config()
    config.data.train = "tfds:imagenet2012@train"
    config.data.val = "tfds:imagenet2012@validation"
    config.batch_size = 64
    config.total = "30 epochs"
    config.precision = "bfloat16"
    config.checkpoint_every = "5000 steps"
    config.sheet_every = "5000 steps"
    words = arg.split(",")
    if "pretrained" in words:
        config = _with_pretrained_encoder(config)
        words.remove("pretrained")
    return variant(config, ",".join(words))


def _with_pretrained_encoder(config: ConfigDict) -> ConfigDict:
    config.net.encoder = "efficientnet_lite0"
    config.loss.palette = 2.0
    config.loss.palette_kind = "hellinger"
    config.loss.cells = 1.0
    config.loss.entropy = 0.0
    config.optim.encoder_rate = 0.1
    config.optim.encoder_from = "1%"  # first, what is new learns from the features as they are
    return config
