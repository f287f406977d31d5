"""`palgan finetune`: what it keeps aside and chooses, its words, and a whole run."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from palgan_jax.checkpoint.reading import load_ema
from palgan_jax.checkpoint.weights_file import save_weights
from palgan_jax.cli import main
from palgan_jax.colorize.record import Entry, Records
from palgan_jax.config import check_config, load_config, model_fields
from palgan_jax.errors import UserError
from palgan_jax.evaluation.compare import compare
from palgan_jax.finetune import run as finetune_run
from palgan_jax.finetune.choices import MOST_STEPS, choose
from palgan_jax.finetune.split import ASIDE, FEWEST, MOST_ASIDE, NEIGHBORS, TRAIN, is_aside, split_folder
from palgan_jax.finetune.verdict import verdict
from palgan_jax.util.files import file_sha256
from tests.support.colorize_model import tiny_weights
from tests.support.places import ROOT
from tests.support.small_evaluation import SMALL, evaluation


@settings(max_examples=30)
@given(st.integers(FEWEST, 5_000))
def test_a_part_is_kept_aside_by_fours(count):
    is_held_out = np.array([is_aside(i, count) for i in range(count)])
    assert 8 <= is_held_out.sum() <= min(0.4 * count, MOST_ASIDE + NEIGHBORS)
    blocks = is_held_out[: count - count % NEIGHBORS].reshape(-1, NEIGHBORS)
    assert (blocks.all(axis=1) | ~blocks.any(axis=1)).all()


@settings(max_examples=30)
@given(
    st.integers(12, 100_000), st.integers(1, 64), st.booleans(), st.sampled_from(["tiny", "pretrained:paint", "small"])
)
def test_the_choices_can_be_trained_with(tmp_path_factory, count, devices, on_cpu, name):
    model, run = load_config(name), tmp_path_factory.getbasetemp()
    config = choose(model, "bundled", run, count, devices, on_cpu)
    check_config(config)
    assert config.batch_size % devices == 0
    assert 0 < int(config.total.split()[0]) <= MOST_STEPS
    assert model_fields(config) == model_fields(model) and config.resolution == model.resolution
    assert 0 < config.optim.g_lr < model.optim.g_lr
    assert config.loss.palette_kind == model.loss.palette_kind and config.loss.palette > 0
    assert (config.loss.cells > 0) == (model.net.encoder != "paper")


@pytest.mark.parametrize(
    ("change", "said"), [(-2.0, "It helped."), (2.0, "It made things worse"), (0.0, "No clear difference")]
)
def test_the_verdict_follows_the_interval(change, said):
    rng = np.random.default_rng(0)
    before = evaluation(30)
    before.values["colorfulness"] = rng.normal(30, 5, 30)
    after = evaluation(30)
    after.values["ciede2000"] = before.values["ciede2000"] + change + rng.normal(0, 0.5, 30)
    after.values["colorfulness"] = before.values["colorfulness"] - 10
    first, second = verdict(compare(after, before))
    difference = after.values["ciede2000"].mean() - before.values["ciede2000"].mean()
    assert first.startswith(said) and f"is {difference:+.2f}, and with 95 % confidence from" in first
    assert second.startswith("Colors are paler than before")


def test_a_model_is_trained_further_and_judged(tmp_path, capsys, monkeypatch, one_device):
    monkeypatch.setattr(finetune_run, "find_protocol", lambda _: SMALL)
    model, photos, run = tmp_path / "model.safetensors", tmp_path / "photos", tmp_path / "run"
    # Networks that are compiled in half the time.
    quick = {"net.attention": "none", "net.norm": "batch", "net.spectral": False, "discriminator.kind": "patch"}
    save_weights(model, tiny_weights(fields=tuple(quick.items())))
    files = sorted((ROOT / "examples" / "photos").glob("*.jpg"))[:24]
    photos.mkdir()
    for file in files:
        shutil.copy(file, photos)
    command = ["finetune", str(photos), "--output", str(run), "--from", str(model), "--config.total=3 steps"]
    command += ["--config.data.workers=0", "--config.eval_every=0 steps"]
    assert main(command) == 0
    output = capsys.readouterr().out
    assert "On the 8 photographs that were kept aside" in output and "--checkpoint" in output
    assert load_ema(run).step == 3
    held_out = (run / "aside.txt").read_text().split()
    train = (run / "train.txt").read_text().split()
    assert sorted(held_out + train) == [str(photos / file.name) for file in files]
    figures = json.loads((run / "comparison.json").read_text())
    error = figures["metrics"]["ciede2000"]
    assert figures["count"] == 8 and f"{error['low']:+.2f} to {error['high']:+.2f}" in output
    with Image.open(run / "before-and-after.png") as sheet:
        assert sheet.height > 8 * 224 and sheet.width > 4 * 224

    # Photographs that come later change nothing: the same command says the same.
    shutil.copy(sorted((ROOT / "examples" / "samples").glob("*.jpg"))[0], photos)
    assert main(command) == 0
    assert capsys.readouterr().out == output


def test_too_few_photographs_are_refused(tmp_path, capsys):
    for file in sorted((ROOT / "examples" / "photos").glob("*.jpg"))[:5]:
        shutil.copy(file, tmp_path)
    assert main(["finetune", str(tmp_path), "--output", str(tmp_path / "run")]) == 2
    assert "has 5 photographs in color, too few" in capsys.readouterr().err


def test_results_among_the_photographs_are_not_learned_from(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(FEWEST + 1):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{number:02}.png")
    result = photos / "03.png"
    digest, size = file_sha256(result), result.stat().st_size
    Records().add(photos, Entry(result.name, "gray.png", 1, "", "", size, digest))
    Records().add(photos, Entry("04.png", "gray.png", 1, "", "", 1, digest))  # which has been replaced since
    assert sum(split_folder(photos, tmp_path / "run")) == FEWEST
    learned = [(tmp_path / "run" / name).read_text().splitlines() for name in (TRAIN, ASIDE)]
    assert {str(path) for path in photos.glob("*.png")} - {*learned[0], *learned[1]} == {str(result)}


def test_a_run_is_not_taken_for_one_of_another_folder(tmp_path, monkeypatch):
    photos, other = tmp_path / "photos", tmp_path / "others"
    photos.mkdir()
    for number in range(FEWEST):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{number:02}.png")
    shutil.copytree(photos, other)
    run = tmp_path / "run"
    counts = split_folder(photos, run)
    with pytest.raises(UserError, match=f"learns from other photographs than those of {other}, such as {photos}"):
        split_folder(other, run)
    (tmp_path / "link").symlink_to(photos)
    monkeypatch.chdir(photos)
    assert all(split_folder(name, run) == counts for name in (photos, ".", "../link", "../others/../photos"))


def test_what_cannot_be_trained_with_is_told_before_the_model_is_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(finetune_run, "_measure", lambda *_: pytest.fail("measured"))
    model, photos, run = tmp_path / "model.safetensors", tmp_path / "photos", tmp_path / "run"
    save_weights(model, tiny_weights())
    photos.mkdir()
    for file in sorted((ROOT / "examples" / "photos").glob("*.jpg"))[:24]:
        shutil.copy(file, photos)
    command = ["finetune", str(photos), "--output", str(run), "--from", str(model)]
    for override, sentence in (("total=0 steps", "trains nothing"), ("batch_size=-1", "must be from 1 to")):
        assert main([*command, f"--config.{override}"]) == 2
        assert sentence in capsys.readouterr().err
    shutil.rmtree(run)
    (photos / "a\nb.jpg").write_bytes(file.read_bytes())
    assert main(command) == 2
    assert r"a\nb.jpg has a line break in its name" in capsys.readouterr().err
