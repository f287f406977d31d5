"""Configs: durations, overrides, and the sentences for what does not fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palgan_jax.checkpoint.compatibility import check_fits
from palgan_jax.config import (
    CADENCES,
    CHOICES,
    PHASES,
    RANGES,
    apply_overrides,
    check_config,
    default_config,
    duration_in_steps,
    durations,
    flatten,
    from_dict,
    load_config,
)
from palgan_jax.errors import UserError
from palgan_jax.nn.build import build_generator


@pytest.mark.parametrize(
    ("duration", "steps"),
    [
        ("500 steps", 500),
        (7, 7),
        ("12", 12),
        ("3 epochs", 30),
        ("1 epoch", 10),
        ("1e3 examples", 100),
        ("50%", 400),
        ("0 steps", 0),
        ("0.01 epochs", 1),
        (" 2.5e-1 epochs ", 2),
        (".5 %", 4),
    ],
)
def test_durations(duration, steps):
    assert duration_in_steps(duration, "log_every", batch_size=10, epoch_examples=100, total=800) == steps


@pytest.mark.parametrize(
    "duration", ["soon", "3 weeks", "-1 steps", "epochs 3", "", "nan", "inf steps", "1e400", "5 5 steps", "%"]
)
def test_durations_that_are_none(duration):
    with pytest.raises(UserError, match=r"^--config\.total=.* is not a duration"):
        duration_in_steps(duration, "total", batch_size=10, epoch_examples=100)


def test_the_total_cannot_be_a_share_of_itself():
    config = default_config()
    config.total = "50%"
    with pytest.raises(UserError, match="total"):
        check_config(config)


def test_durations_of_a_config():
    config = default_config()
    config.batch_size, config.total, config.log_every = 50, "10 epochs", "0 steps"
    spans = durations(config, epoch_examples=500)
    assert (spans.total, spans.phases.decay_from, spans.log, spans.eval) == (100, 50, 0, 10)


def test_each_number_has_a_range_and_each_text_its_choices_or_a_check():
    fields, without = flatten(default_config()), ("mesh.data", "mesh.fsdp")
    numbers = {name for name, value in fields.items() if type(value) in (int, float)}
    assert numbers == set(RANGES) | set(without)
    texts = {name for name, value in fields.items() if isinstance(value, str)}
    opened = {"start", "loss.perceptual_weights", "data.train", "data.val", "data.tfds_dir"}
    assert texts == {*CHOICES, "total", *CADENCES, *PHASES, "eval_metrics", "best", *opened}


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


def test_more_steps_than_can_be_counted_are_refused():
    config = default_config()
    config.total = "1e9 epochs"
    with pytest.raises(UserError, match=r"total=1e9 epochs are .* steps: 2,147,483,647 can be counted"):
        durations(config, 10**6)


def test_overrides_keep_the_type_of_the_field():
    config = default_config()
    apply_overrides(
        config,
        [
            "net.width=1",
            "batch_size=16",
            "tensorboard=true",
            "net.attention=global",
            "data.train=folder:/a=b",
            "total=5",
        ],
    )
    assert (config.net.width, config.batch_size, config.tensorboard) == (1.0, 16, True)
    assert isinstance(config.net.width, float)
    assert (config.net.attention, config.data.train, config.total) == ("global", "folder:/a=b", "5")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("net.widht=0.5", r"--config\.net\.widht is not a field of the config: did you mean net\.width\?"),
        ("zzz=1", r"--config\.zzz is not a field"),
        ("net.width", r"--config\.net\.width has no value"),
        ("batch_size=many", r"--config\.batch_size=many does not fit: it must be a whole number"),
        ("batch_size=1.5", r"--config\.batch_size=1\.5 does not fit"),
        ("tensorboard=1", r"--config\.tensorboard=1 does not fit"),
    ],
)
def test_overrides_that_do_not_fit(override, sentence):
    with pytest.raises(UserError, match=sentence):
        apply_overrides(default_config(), [override])


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


START = "from palgan_jax.config import default_config\ndef get_config():\n    config = default_config()\n"


def test_config_files(tmp_path):
    with pytest.raises(UserError, match="no config file at"):
        load_config(str(tmp_path / "none.py"))
    for content, sentence in [
        ("", "KeyError"),
        ("def get_config(:", "SyntaxError"),
        ("import no_such_module", "no_such_module"),
        ("def get_config(): return None", "returns no ConfigDict"),
        (START + "    config.net.widht = 1", r"net\.widht is not a field of the config: did you mean net\.width\?"),
        (START + "    del config.ema", "ema is missing from the config"),
    ]:
        file = tmp_path / "broken.py"
        file.write_text(content + ("\n    return config" if content.startswith(START) else ""))
        with pytest.raises(UserError, match=sentence):
            load_config(str(file))
    file.write_text("def get_config(): ...")
    with pytest.raises(UserError, match="takes the name of a variant"):
        load_config(f"{file}:runlocal")
    config = load_config("tiny", ["net.width=0.5"])
    assert config.net.width == 0.5
    with pytest.raises(UserError, match=r"no config file at tiyn: .* comes with the package, ablations, coco256, "):
        load_config("tiyn")


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
