"""Files of configs and overrides of their fields, and the sentences for what does not fit."""

import pytest

from palgan_jax.config import apply_overrides, default_config, load_config
from palgan_jax.errors import UserError


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
