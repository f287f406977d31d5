"""Uploads a trained model to the Hub: weights, config, card, licenses, and the same model for ONNX Runtime."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.checkpoint.weights_file import FORMAT, save_weights
from palgan_jax.config import without_folders
from palgan_jax.errors import UserError
from palgan_jax.export.onnx_model import save_onnx
from palgan_jax.hub.download import WEIGHTS, hub_api
from palgan_jax.hub.names import HubName
from palgan_jax.hub.refusals import LOG_IN, refusal
from palgan_jax.pretrained.origins import ORIGINS, license_files
from palgan_jax.publish.card import MARK, model_card

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_CARD, _CONFIG, _ONNX = "README.md", "config.json", "model.onnx"


@dataclass(frozen=True)
class Uploaded:
    """What came of an upload.

    Attributes:
      name: the model with the commit that has it.
      address: its page.
      files: bytes by the names of the files that are there now.
      notes: what did not go as it could have, in sentences.
      changed: False where the hub had all of it.
    """

    name: HubName
    address: str
    files: Mapping[str, int]
    notes: tuple[str, ...]
    changed: bool


@dataclass(frozen=True)
class _Present:
    """What a repository has already: its newest commit, the names of its files, and those texts that matter here."""

    commit: str | None = None
    files: frozenset[str] = frozenset()
    config: str = ""
    card: str = ""
    private: bool = False


def upload(weights: Weights, repository: str, license: str | None = None, private: bool = False) -> Uploaded:
    """Uploads a model as one commit, so that nothing that was there is lost; makes the repository where there is none.

    A card that a person has written stays. `private`: only those whom its owner lets see it.

    Raises UserError where nobody is logged in or may not, where the repository holds something else or everybody sees
    it though it should be private, and where the hub cannot be reached.
    """
    from huggingface_hub import get_token

    name = HubName(repository)
    if get_token() is None:
        raise UserError(f"nobody is logged in at the Hugging Face Hub: {LOG_IN} (a token that may write).")
    api = hub_api()
    try:
        present = _look(api, repository)
    except Exception as error:  # those of several libraries
        raise refusal(error, name) from error
    _check(present, repository, private)
    with TemporaryDirectory() as folder:
        notes = _write(Path(folder), weights, repository, license, present)
        files = {path.name: path.stat().st_size for path in sorted(Path(folder).iterdir())}
        try:
            commit = _commit(api, Path(folder), weights.origin, repository, private, present)
        except Exception as error:
            raise refusal(error, name) from error
    address = f"{api.endpoint}/{repository}"
    return Uploaded(HubName(repository, commit), address, files, tuple(notes), commit != present.commit)


def _look(api: "HfApi", repository: str) -> _Present:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.model_info(repository)
    except RepositoryNotFoundError:
        return _Present()
    files = frozenset(file.rfilename for file in info.siblings or ())

    def text(name: str) -> str:
        if name not in files:
            return ""
        path = api.hf_hub_download(repository, name, revision=info.sha)
        return Path(path).read_text(encoding="utf-8", errors="replace")

    return _Present(info.sha, files, text(_CONFIG), text(_CARD), bool(info.private))


def _check(present: _Present, repository: str, private: bool) -> None:
    if private and present.commit and not present.private:
        raise UserError(f"{repository} exists, and everybody may see it: leave --private out, or name another.")
    if (_CONFIG in present.files or WEIGHTS in present.files) and '"palgan_jax"' not in present.config:
        raise UserError(f"{repository} holds a model that is none of palgan_jax: name another.")


def _write(folder: Path, weights: Weights, repository: str, license: str | None, present: _Present) -> list[str]:
    """Writes the files that are uploaded, and returns what is to be said of them."""
    weights, notes = replace(weights, config=without_folders(weights.config)), []
    save_weights(folder / WEIGHTS, weights)
    config = {
        "format": "palgan_jax",
        "format_version": FORMAT,
        "step": int(weights.step),
        "averaged": weights.averaged,
        "config": weights.config,
    }
    (folder / _CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    for file, content in license_files(weights.config.get("net", {}).get("encoder")).items():
        (folder / file).write_bytes(content)
    try:
        save_onnx(folder / _ONNX, weights)
    except UserError as error:
        notes.append(f"{_ONNX} is left out: {error}")
    if _is_written_by_a_person(present.card):
        notes.append(f"{_CARD} stays as it is, since somebody has written it: remove it there to have it written anew.")
        return notes
    license = license or _license(present.card)
    if license is None:
        notes.append("the card names no license, without which nobody knows what is allowed: --license names one.")
    card = model_card(weights, repository, license, (folder / _ONNX).exists())
    (folder / _CARD).write_text(card, encoding="utf-8")
    return notes


def _is_written_by_a_person(card: str) -> bool:
    """Returns True for a card with text under its head that is not from here; the hub makes some with a head alone."""
    body = re.sub(r"\A\s*---\n.*?^---\s*$", "", card, count=1, flags=re.DOTALL | re.MULTILINE)
    return bool(body.strip()) and MARK not in card


def _license(card: str) -> str | None:
    match = re.search(r"^license: *([\w.-]+)", card, re.MULTILINE)
    return match[1] if match else None


def _commit(api: "HfApi", folder: Path, origin: str, repository: str, private: bool, present: _Present) -> str:
    """Commits all files of a folder, and returns the commit, or that which was there where nothing has changed."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    if present.commit is None:
        api.create_repo(repository, private=private or None, exist_ok=True)
    written = {path.name: path for path in folder.iterdir()}
    ours = {_ONNX, *(file for encoder in ORIGINS for file in license_files(encoder))}
    operations = [
        *(CommitOperationAdd(file, path) for file, path in sorted(written.items())),
        *(CommitOperationDelete(file) for file in sorted(ours & present.files - written.keys())),  # of another model
    ]
    return api.create_commit(repository, operations, commit_message=f"Upload {origin} of palgan_jax").oid
