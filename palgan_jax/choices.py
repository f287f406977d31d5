"""The alternatives that a config names, for the networks and losses that offer them and for the checks of configs."""

from typing import Literal

Model = Literal["palgan", "autoencoder", "vae"]
Encoder = Literal["paper", "efficientnet_lite0"]
Precision = Literal["float32", "bfloat16"]
Tap = Literal["after", "before"]
Init = Literal["xavier", "he"]
"""First weights: the paper's, or those that keep the signal's size from the first step on."""
Norm = Literal["palette", "instance", "batch", "spade"]
Attention = Literal["full", "global", "local", "none", "self"]
Local = Literal["guided", "guided_without_b", "affine"]
Guide = Literal["luminance", "convolution"]
DiscriminatorKind = Literal["projection", "patch"]
Projected = Literal["unit", "sqrt", "plain"]
DiscriminatorAugmentation = Literal["none", "translation_cutout"]

ColorLoss = Literal["l1", "huber"]
PaletteLoss = Literal["l1", "kl", "hellinger"]
Decay = Literal["linear", "cosine"]
