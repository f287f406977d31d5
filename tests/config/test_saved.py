"""Configs of checkpoints, of this version and of earlier ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palgan_jax.checkpoint.compatibility import check_fits
from palgan_jax.config import CHOICES, default_config, flatten, from_dict, without_folders
from palgan_jax.errors import UserError
from palgan_jax.nn.build import build_generator


@given(st.floats(0.01, 4), st.sampled_from(CHOICES["net.norm"]), st.sampled_from(CHOICES["model"]))
def test_a_config_survives_its_checkpoint(width, norm, model):
    config = default_config()
    config.net.width, config.net.norm, config.model = width, norm, model
    assert flatten(from_dict(config.to_dict())) == flatten(config)
    assert build_generator(from_dict(config.to_dict())) == build_generator(config)


def test_checkpoints_of_the_first_reading_keep_what_they_were_trained_with():
    fields = default_config().to_dict()
    new = from_dict(fields)
    assert (new.net.guide, new.render_leak, new.discriminator.palette) == ("luminance", 0.0, "unit")
    del fields["net"]["guide"], fields["net"]["attention_residual"], fields["render_leak"]
    del fields["discriminator"]["palette"], fields["loss"]["palette_kind"]
    for resolution, radius in ((64, 16), (128, 8), (256, 4), (512, 2)):
        old = from_dict(fields | {"resolution": resolution})
        assert (old.net.guide, old.render_leak, old.discriminator.palette) == ("convolution", 1.0, "plain")
        assert old.net.guided_radius == radius, "4 pixels of F"
        assert old.loss.palette_kind == "l1" and not old.net.attention_residual


def test_fields_that_earlier_checkpoints_hold_are_read():
    fields = default_config().to_dict()
    del fields["palette"]["normalization"], fields["net"]["normalize_palette"]
    fields["palette"]["normalisation"], fields["net"]["normalise_palette"] = "max", False
    fields["data"]["host_lab"] = True
    config = from_dict(fields)
    assert config.palette.normalization == "max"
    assert config.net.normalize_palette is False
    check_fits(fields, config.to_dict())


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"net": {"colour": 1}}, r"net\.colour, unknown to this version"),
        ({"seed": "x"}, "is not one of palgan_jax"),
        ([], "is not one of palgan_jax"),
        ({"resolution": None}, "resolution is None"),
        ({"model": "foo"}, "model=foo is not known"),
    ],
)
def test_configs_of_checkpoints_that_do_not_fit(fields, sentence):
    with pytest.raises(UserError, match=sentence):
        from_dict(fields)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("folder:/home/jane/My Photos/train", "folder:train"),
        ("folder:/home/jane/photos/", "folder:photos"),
        ("folder:/home/jane\n/photos", "folder:photos"),
        ("0.7 folder:/a+b/jane/c/ + 0.3 list:~/c/d.txt", "0.7 folder:c + 0.3 list:d.txt"),
        ("~jane/vgg16.safetensors", "vgg16.safetensors"),
        (r"folder:C:\Users\jane\photos", "folder:photos"),
        ("C:/Users/jane/runs/a", "a"),
        (r"\\server\jane\photos", "photos"),
        ("tfds:/data/jane/imagenet2012/5.1.0@train", "tfds:imagenet2012/5.1.0@train"),
        ("tfds:gs://jane/coco/2017/1.1.0", "tfds:2017/1.1.0"),
        ("gs://jane/runs/a", "a"),
        ("folder:/", "folder:/"),
        ("folder:photos/train", "folder:photos/train"),
        ("tfds:coco/2017:1.1.0@train", "tfds:coco/2017:1.1.0@train"),
        ("hf:jane/photos@main", "hf:jane/photos@main"),
        ("val/psnr", "val/psnr"),
        ("30 epochs", "30 epochs"),
    ],
)
def test_absolute_paths_are_their_last_parts(path, shown):
    config = {"data": {"train": shown}, "width": 0.5}
    assert without_folders({"data": {"train": path}, "width": 0.5}) == config == without_folders(config)
