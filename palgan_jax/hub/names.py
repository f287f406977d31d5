"""Names of models on the Hugging Face Hub: `hf:OWNER/NAME`, or `hf:OWNER/NAME@REVISION` for one revision.

The prefix tells them from folders, which may be called OWNER/NAME as well.
"""

import os
from dataclasses import dataclass

from palgan_jax.errors import UserError

PREFIX = "hf:"
_FIRST = "main"


@dataclass(frozen=True)
class HubName:
    """A model on the hub.

    Attributes:
      repository: OWNER/NAME.
      revision: a branch, a tag or a commit.
    """

    repository: str
    revision: str = _FIRST

    def __str__(self) -> str:
        return PREFIX + self.repository + ("" if self.revision == _FIRST else f"@{self.revision}")


def is_hub_name(name: str | os.PathLike | None) -> bool:
    """Returns True for what names a model on the hub, well or badly."""
    return name is not None and str(name).startswith(PREFIX)


def parse_name(name: str | os.PathLike) -> HubName:
    """Returns what `hf:OWNER/NAME[@REVISION]` names. Raises UserError where it is not of that form."""
    repository, at, revision = str(name).removeprefix(PREFIX).partition("@")
    if at and not revision:
        raise UserError(f"{name} names no revision after @: name a branch, a tag or a commit, or leave @ out.")
    return HubName(check_repository(repository), revision or _FIRST)


def check_repository(repository: str) -> str:
    """Returns OWNER/NAME as it is. Raises UserError where the hub has no such names."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
        if repository.count("/") == 1:
            return repository
    except HFValidationError:
        pass
    raise UserError(
        f"{repository} is no name of a model on the Hugging Face Hub: such names are OWNER/NAME, of letters, digits, "
        "-, _ and a dot between them."
    )
