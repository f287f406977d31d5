"""What a config may hold: choices, ranges, and fields that need others."""

import pytest

from palgan_jax.config import CADENCES, CHOICES, PHASES, RANGES, apply_overrides, check_config, default_config, flatten
from palgan_jax.errors import UserError


def test_the_total_cannot_be_a_share_of_itself():
    config = default_config()
    config.total = "50%"
    with pytest.raises(UserError, match="total"):
        check_config(config)


def test_each_number_has_a_range_and_each_text_its_choices_or_a_check():
    fields, unlimited = flatten(default_config()), ("mesh.data", "mesh.fsdp")
    numbers = {name for name, value in fields.items() if type(value) in (int, float)}
    assert numbers == set(RANGES) | set(unlimited)
    texts = {name for name, value in fields.items() if isinstance(value, str)}
    sources = {"start", "loss.perceptual_weights", "data.train", "data.val", "data.tfds_dir"}
    assert texts == {*CHOICES, "total", *CADENCES, *PHASES, "eval_metrics", "best", *sources}


@pytest.mark.parametrize("name", sorted(RANGES))
def test_what_lies_outside_its_range_is_refused(name):
    for value in (RANGES[name][0] - 1, RANGES[name][1] * 2 + 1, float("nan")):
        config = default_config()
        if isinstance(flatten(config)[name], int):
            if value != value:
                continue
            value = int(value)
        config.update_from_flattened_dict({name: value})
        with pytest.raises(UserError, match=f"--config.{name}=.* does not fit: it must be from"):
            check_config(config)


@pytest.mark.parametrize("field", sorted(CHOICES))
def test_every_choice_is_checked(field):
    config = default_config()
    apply_overrides(config, [f"{field}=nonsense"])
    with pytest.raises(UserError, match=f"{field}=nonsense is not known: choose one of"):
        check_config(config)


@pytest.mark.parametrize(
    "override",
    [
        *("resolution=96", "resolution=0", "batch_size=0", "accumulate=-1", "keep=0", "predicted_share=7", "ema=2"),
        *("palette.sigma=0", "ab_range=0", "data.min_scale=0", "data.workers=-9", "optim.g_lr=-1", "net.width=0"),
        *("loss.l1=-3", "optim.g_lr=7", "optim.b2=1", "optim.decay_from=200%", "resolution=8192"),
    ],
)
def test_numbers_that_cannot_work(override):
    config = default_config()
    apply_overrides(config, [override])
    with pytest.raises(UserError, match=rf"--config\.{override}"):
        check_config(config)


def test_the_augmentation_of_a_discriminator_needs_one():
    config = default_config()
    apply_overrides(config, ["discriminator_augmentation=translation_cutout"])
    check_config(config)
    apply_overrides(config, ["loss.adversarial=0"])
    with pytest.raises(UserError, match=r"needs a discriminator: set --config\.loss\.adversarial"):
        check_config(config)


@pytest.mark.parametrize("override", ["net.paint_stride=2", "loss.cells=1.0", "net.frozen_blocks=3"])
def test_fields_of_a_pretrained_encoder_need_one(override):
    config = default_config()
    apply_overrides(config, [override])
    with pytest.raises(UserError, match=r"needs a pretrained encoder: choose --config\.net\.encoder"):
        check_config(config)
    config.net.encoder = "efficientnet_lite0"
    check_config(config)
    config.model = "vae"
    with pytest.raises(UserError, match="takes the paper's encoder"):
        check_config(config)
