"""Downloads the weights of a model on the Hugging Face Hub, or takes them from the cache that all its programs share.

One file is read, model.safetensors, and nothing of a repository is ever executed or unpickled.
"""

import re
from pathlib import Path

from palgan_jax import __version__
from palgan_jax.errors import UserError
from palgan_jax.hub.names import HubName
from palgan_jax.hub.refusals import refusal
from palgan_jax.util.files import file_sha256

WEIGHTS = "model.safetensors"
_SECONDS = 3
"""How long the hub has to say which commit a branch is at, unless HF_HUB_ETAG_TIMEOUT says otherwise."""


def download_weights(name: HubName) -> tuple[Path, HubName]:
    """Returns the file of a model's weights, and its name with the commit that it is of.

    Of a branch or a tag, the hub is asked for the newest commit. Where it does not answer, the commit that was loaded
    last is taken. Of a commit that is in the cache, nothing is asked.

    Raises UserError where the model cannot be had, and where its file is not the one that the hub has.
    """
    from huggingface_hub import hf_hub_url, try_to_load_from_cache

    repository, revision, api = name.repository, name.revision, hub_api()
    try:
        if not isinstance(try_to_load_from_cache(repository, WEIGHTS, revision=revision), str):
            # Without this question, a hub that cannot be reached would be asked again and again for 23 seconds.
            api.get_hf_file_metadata(url=hf_hub_url(repository, WEIGHTS, revision=revision), timeout=_SECONDS)
        path = Path(api.hf_hub_download(repository, WEIGHTS, revision=revision, etag_timeout=_SECONDS))
    except Exception as error:  # those of three libraries, one of them not in Python
        raise refusal(error, name) from error
    _check_digest(path, name)
    return path, HubName(name.repository, path.parent.name)


def hub_api():
    """Returns the client of the hub, which says who asks."""
    from huggingface_hub import HfApi

    return HfApi(library_name="palgan_jax", library_version=__version__)


def _check_digest(path: Path, name: HubName) -> None:
    """Removes a file of the cache, and raises UserError, where it is not what the hub said that it is.

    Files of the cache are links to what is named by the SHA-256 that the hub states. Systems without links have no such
    names.
    """
    digest = path.readlink().name if path.is_symlink() else ""
    if not re.fullmatch("[0-9a-f]{64}", digest) or file_sha256(path) == digest:
        return
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    raise UserError(
        f"the file of {name} is not the one that the hub states (SHA-256 {digest[:12]}...), and was removed from the "
        "cache: load it again."
    )
