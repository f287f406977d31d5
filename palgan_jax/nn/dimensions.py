"""What the networks are made of beside their configs, for Flax's modules and for their forms in other programs."""

from typing import NamedTuple

CHANNELS = (32, 64, 128, 256, 256, 256)
"""Of the convolutions of the paper's E, each of stride 2, at width 1."""
TAPS = 4
"""The first so many of them, M1 to M4, are what G takes."""
PATCH = 4
"""Pixels of a side of the patches that attention moves."""
RADIUS_SIDE = 256
"""The side of the picture whose windows have `guided_radius`; those of others are as large a part of them."""
NORM_EPSILON = 1e-5
"""Added to variances by the norms of G."""


class Stage(NamedTuple):
    """Blocks of one width: the first has the stride, and all but a first one of other width add their input."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    width: int


LITE0_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""The seven stages of 16 blocks of EfficientNet-Lite0, numbered 0 to 15, behind a stem of stride 2."""
LITE0_TAPS = {0: 16, 2: 24, 4: 40, 10: 112, 15: 320}
"""Its last blocks at strides 2, 4, 8, 16 and 32, and their channels."""
LUMINANCE_BINS = 16
"""Of the histogram of luminance that a pretrained E predicts palettes from."""
FEATURES_EPSILON = 1e-3
"""Added to the variances of the features that it predicts them from."""
