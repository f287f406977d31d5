"""What a run says of its pictures."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from palgan_jax.config import default_config
from palgan_jax.errors import UserError
from palgan_jax.training.data import LostPictures, open_data


@pytest.fixture
def run(tmp_path, samples):
    """A config whose pictures are four samples, and a working directory."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted(samples.glob("*.jpg"))[:4]:
        Image.open(path).resize((64, 48)).save(photos / path.name)
    config = default_config()
    config.data.train = f"folder:{photos}"
    return config, photos, tmp_path / "run"


def test_other_pictures_than_before_are_noticed(run, caplog):
    config, photos, workdir = run
    warnings = []
    for change in (None, None, lambda: next(photos.glob("*.jpg")).unlink(), None):
        if change is not None:
            change()
        caplog.clear()
        open_data(config, "train", workdir)
        warnings.append([record.getMessage() for record in caplog.records if record.levelno == logging.WARNING])
    assert warnings[:2] == [[], []] and warnings[3] == []
    assert len(warnings[2]) == 1 and "not those of this run" in warnings[2][0]


def test_a_run_without_pictures_is_refused(run):
    config, _, workdir = run
    with pytest.raises(UserError, match=r"data\.val is empty"):
        open_data(config, "val", workdir)


def test_lost_pictures_are_named_once_and_listed(tmp_path: Path, caplog):
    lost = LostPictures(tmp_path)
    lost.report({})
    assert not (tmp_path / "replaced.txt").exists()
    lost.report({"b.jpg": 1})
    lost.report({"b.jpg": 2, "a.jpg": 1})
    lost.report({"b.jpg": 3, "a.jpg": 1})
    assert [record.args[0] for record in caplog.records if record.levelno == logging.WARNING] == ["b.jpg", "a.jpg"]
    assert (tmp_path / "replaced.txt").read_text().splitlines()[1:] == ["a.jpg\t1", "b.jpg\t2"]
