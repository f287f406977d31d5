"""The folder of `palgan web --static`: what it may replace, and where its runtime comes from."""

from pathlib import Path

import pytest

from palgan_jax.checkpoint.weights_file import save_weights
from palgan_jax.cli import main
from palgan_jax.errors import UserError
from palgan_jax.web import runtime, static_page
from tests.support.colorize_model import tiny_weights


@pytest.fixture
def no_runtime(monkeypatch):
    monkeypatch.setattr(static_page, "runtime_files", lambda package: {"ort.js": b"ort"})


@pytest.fixture
def words(checkpoint):
    return ["web", "--checkpoint", str(checkpoint)]


def test_an_older_page_is_written_over_and_other_files_stay(no_runtime, words, tmp_path, capsys):
    folder = tmp_path / "page"
    folder.mkdir()
    assert main([*words, "--static", str(folder)]) == 0
    assert "http.server" in capsys.readouterr().out
    (folder / "CNAME").write_text("example.org")
    (folder / "main.js").write_text("old")
    assert main([*words, "--static", str(folder)]) == 0
    assert (folder / "CNAME").read_text() == "example.org"
    assert (folder / "main.js").read_bytes() == (static_page.PAGE / "main.js").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


def test_an_empty_folder_stays_the_same_one(no_runtime, words, tmp_path, monkeypatch):
    folder = tmp_path / "page"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder)
    assert main([*words, "--static", str(tmp_path / "link")]) == 0
    assert (Path.cwd() / "index.html").is_file() and (tmp_path / "link").is_symlink()
    assert not [path for path in folder.iterdir() if path.suffix == ".tmp"]


@pytest.mark.parametrize("kind", ["a file", "a folder with files"])
def test_nothing_of_others_is_touched(no_runtime, words, tmp_path, capsys, kind):
    place = tmp_path / "mine"
    user_file = place if kind == "a file" else place / "thesis.txt"
    user_file.parent.mkdir(exist_ok=True)
    user_file.write_text("mine")
    assert main([*words, "--static", str(place)]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert user_file.read_text() == "mine" and sum(1 for _ in tmp_path.rglob("*")) == (1 if kind == "a file" else 2)


@pytest.mark.parametrize("is_there", [False, True])
def test_what_cannot_be_written_leaves_nothing_behind(no_runtime, words, tmp_path, capsys, monkeypatch, is_there):
    folder, write_file = tmp_path / "page", static_page.write_file
    if is_there:
        folder.mkdir()

    def full(path, content):
        if path.name == "painter.onnx":
            raise UserError("no space")
        write_file(path, content)

    monkeypatch.setattr(static_page, "write_file", full)
    assert main([*words, "--static", str(folder)]) == 2
    assert "no space" in capsys.readouterr().err and list(tmp_path.rglob("*")) == [folder] * is_there


def test_the_folder_that_cannot_be_made_is_named(no_runtime, words, tmp_path, capsys):
    (tmp_path / "a file").touch()
    assert main([*words, "--static", str(tmp_path / "a file" / "page")]) == 2
    assert capsys.readouterr().err.startswith(f"palgan: error: {tmp_path / 'a file'} is no folder that can be written")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--runtime", "x.tgz"], "--static"),
        (["--static", "x", "--open"], "--open"),
        (["--static", "x", "--port", "0"], "--port"),
    ],
)
def test_options_that_contradict_each_other_are_one_sentence(words, capsys, more, sentence):
    assert main([*words, *more]) == 2
    assert sentence in capsys.readouterr().err


def test_models_without_palettes_are_one_sentence(no_runtime, tmp_path, capsys):
    save_weights(tmp_path / "vae.safetensors", tiny_weights("vae"))
    words = ["web", "--checkpoint", str(tmp_path / "vae.safetensors"), "--static", str(tmp_path / "page")]
    assert main(words) == 2
    assert "paints with no palette" in capsys.readouterr().err and not (tmp_path / "page").exists()


def test_another_file_than_the_runtime_is_one_sentence(tmp_path):
    for content in (b"", b"x" * 1000):
        package = tmp_path / "ort.tgz"
        package.write_bytes(content)
        with pytest.raises(UserError, match="is not onnxruntime-web"):
            runtime.runtime_files(package)
    with pytest.raises(UserError, match="cannot be read"):
        runtime.runtime_files(tmp_path / "absent.tgz")


def test_without_a_network_one_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PALGAN_CACHE", str(tmp_path))
    monkeypatch.setattr(runtime, "ADDRESS", "http://127.0.0.1:1/ort.tgz")
    with pytest.raises(UserError, match=r"npm pack onnxruntime-web@[\d.]+\) and name the file with --runtime"):
        runtime.runtime_files()
