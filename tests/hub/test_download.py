"""Models on the hub, by their names: a hub on this machine that speaks its protocol, and its own client."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from palgan_jax.checkpoint.find import describe, find_weights
from palgan_jax.checkpoint.weights_file import save_weights
from palgan_jax.cli import main
from palgan_jax.errors import ExitCode, UserError
from palgan_jax.training.start import find_model
from tests.support.addresses import free_address
from tests.support.colorize_model import tiny_weights
from tests.support.hub_client import forget_client, use_hub
from tests.support.hub_server import TOKEN, serve_hub

NAME = "jane/photos"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[bytes]:
    """The weights of two steps, as files."""
    folder = tmp_path_factory.mktemp("files")
    contents = []
    for step in (10, 20):
        save_weights(folder / f"{step}.safetensors", replace(tiny_weights(), step=step))
        contents.append((folder / f"{step}.safetensors").read_bytes())
    return contents


@pytest.fixture
def hub(files, tmp_path, monkeypatch):
    """A hub with one model, and a machine that has loaded nothing."""
    with serve_hub() as hub:
        hub.add(
            NAME, {"model.safetensors": files[0], "evil.py": b"raise SystemExit", "pytorch_model.bin": b"\x80\x04."}
        )
        use_hub(monkeypatch, hub, tmp_path)
        yield hub
    forget_client()


def cached(home: Path) -> list[Path]:
    """The files that the cache holds, whole or not."""
    return [path for path in (home / "hub").rglob("*") if path.parent.name == "blobs"]


def test_a_model_and_its_revisions_by_name(hub, files):
    repository = hub.repositories[NAME]
    first = repository.refs["main"]
    weights = find_weights(f"hf:{NAME}")
    assert weights.source == f"step 10 of hf:{NAME}@{first}"
    layer = ("params", "assignment_generator", "stem", "kernel")
    variables, expected = weights.variables, tiny_weights().variables
    for part in layer:
        variables, expected = variables[part], expected[part]
    assert np.array_equal(variables, expected)
    # The code and the pickle beside it were not even asked for, and the token did not leave the hub.
    assert not any(name in request for request in hub.requests for name in ("evil", "bin"))

    repository.commit({"model.safetensors": files[1]})
    repository.refs["v1"] = first
    assert find_weights(f"hf:{NAME}").step == 20
    assert find_weights(f"hf:{NAME}@v1").step == find_weights(f"hf:{NAME}@{first}").step == 10
    assert find_model(f"hf:{NAME}@v1").source == weights.source
    assert "step 20 of hf:" in describe(f"hf:{NAME}")


def test_a_commit_that_is_here_is_not_asked_for(hub):
    first = hub.repositories[NAME].refs["main"]
    find_weights(f"hf:{NAME}@{first}")
    count_of_requests = len(hub.requests)
    find_weights(f"hf:{NAME}@{first}")
    assert len(hub.requests) == count_of_requests


@pytest.mark.parametrize("how", ["offline", "nobody answers"])
def test_without_a_network_what_was_loaded_is_used_at_once(hub, tmp_path, monkeypatch, how):
    source = find_weights(f"hf:{NAME}").source
    if how == "offline":
        use_hub(monkeypatch, hub, tmp_path, offline=True)
    else:
        monkeypatch.setattr(hub, "address", f"http://{free_address()}")
        use_hub(monkeypatch, hub, tmp_path)
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)  # the library asks again and again, for 23 s
    count_of_requests = len(hub.requests)
    assert find_weights(f"hf:{NAME}").source == source
    with pytest.raises(UserError, match="forbids to ask for it" if how == "offline" else "check the connection"):
        find_weights("hf:jane/other")
    assert len(hub.requests) == count_of_requests
    assert not pauses


def test_private_models_need_a_token(hub, files, tmp_path, monkeypatch):
    hub.add("jane/secret", {"model.safetensors": files[0]}, private=True)
    with pytest.raises(UserError, match=r"there is no model jane/secret .*or it is private: .*`hf auth login`"):
        find_weights("hf:jane/secret")
    use_hub(monkeypatch, hub, tmp_path, token=TOKEN)
    assert find_weights("hf:jane/secret").step == 10
    assert not hub.authorized
    use_hub(monkeypatch, hub, tmp_path / "other", token="hf_wrong")
    with pytest.raises(UserError, match=r"does not accept the token: log in .* anew\.$"):
        find_weights(f"hf:{NAME}")


def test_what_the_hub_does_not_have_is_one_sentence(hub, files):
    hub.add("jane/gated", {"model.safetensors": files[0]}, gated=True)
    hub.add("jane/text", {"pytorch_model.bin": b"\x80\x04."})
    for name, sentence in {
        "hf:jane/none": "there is no model jane/none",
        "hf:jane/gated": "only for those who have asked for it: ask at http",
        "hf:jane/text": "holds no model of palgan_jax, which would be a model.safetensors",
        f"hf:{NAME}@v7": "jane/photos has no revision v7: name one of those at",
        f"hf:{NAME}@": "names no revision after @",
        "hf:photos": "photos is no name of a model on the Hugging Face Hub: such names are OWNER/NAME",
        "hf:jane/a/b": "jane/a/b is no name",
        "hf:../etc/x": "etc/x is no name",
        "hf:": "is no name of a model",
    }.items():
        with pytest.raises(UserError, match=sentence) as error:
            find_weights(name)
        assert str(error.value).endswith(".") and "\n" not in str(error.value)
    with pytest.raises(UserError, match="holds the weights of one step"):
        find_weights(f"hf:{NAME}", "best")


def test_a_download_that_is_cut_off_goes_on(hub):
    hub.cut = 1
    assert find_weights(f"hf:{NAME}").step == 10


def test_a_file_that_is_not_the_one_that_the_hub_states_is_refused(hub, tmp_path):
    hub.wrong_byte = True
    with pytest.raises(
        UserError, match=r"is not the one that the hub states \(SHA-256 .*\): load it again|cache: load"
    ):
        find_weights(f"hf:{NAME}")
    assert not cached(tmp_path)
    hub.wrong_byte = False
    assert find_weights(f"hf:{NAME}").step == 10


def test_a_file_that_was_damaged_in_the_cache_is_refused_and_loaded_anew(hub, tmp_path):
    find_weights(f"hf:{NAME}")
    (file,) = cached(tmp_path)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)
    with pytest.raises(UserError, match="was removed from the cache: load it again"):
        find_weights(f"hf:{NAME}")
    assert find_weights(f"hf:{NAME}").step == 10


def test_soundness_is_checked_as_of_any_file(hub):
    tensors = {"params/x": np.array([np.nan], np.float32)}
    metadata = {"format": "palgan_jax", "format_version": "1", "step": "1", "config": "{}"}
    hub.add("jane/nan", {"model.safetensors": safetensors.numpy.save(tensors, metadata)})
    hub.add("jane/foreign", {"model.safetensors": safetensors.numpy.save(tensors)})
    with pytest.raises(
        UserError, match=r"^hf:jane/nan@[0-9a-f]{40} is not a readable weights file \('?params/x'? holds"
    ):
        find_weights("hf:jane/nan")
    with pytest.raises(UserError, match=r"^hf:jane/foreign@[0-9a-f]{40} is a safetensors file, but does not hold"):
        find_weights("hf:jane/foreign")


def test_commands_take_the_name(hub, tmp_path, capsys):
    assert main(["info", f"hf:{NAME}"]) == ExitCode.FINISHED
    output = capsys.readouterr()
    assert f"step 10 of hf:{NAME}@" in output.out and not output.err
    assert main(["export", f"hf:{NAME}", str(tmp_path / "a.safetensors")]) == ExitCode.FINISHED
    assert find_weights(tmp_path / "a.safetensors").step == 10
    shutil.rmtree(tmp_path / "hub")
    hub.repositories.clear()
    assert main(["info", f"hf:{NAME}"]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err.splitlines()[-1].startswith("palgan: error: there is no model jane/photos")
