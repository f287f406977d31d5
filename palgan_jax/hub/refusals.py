"""What the Hugging Face Hub refuses, and what breaks on the way to it, in sentences."""

from palgan_jax.errors import UserError, one_line
from palgan_jax.hub.names import HubName

LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


def refusal(error: Exception, name: HubName) -> UserError:
    """Returns the sentence for what huggingface_hub, or one of the libraries that it uses, raised for a model."""
    from huggingface_hub import constants, get_token, is_offline_mode
    from huggingface_hub import errors as hub

    while isinstance(error, RuntimeError | hub.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # what it wraps says more
    address = f"{constants.ENDPOINT}/{name.repository}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, hub.GatedRepoError):
        return UserError(f"{name} is only for those who have asked for it: ask at {address}, and {LOG_IN}.")
    # The hub tells strangers of what is private what it tells them of what is not there.
    if isinstance(error, hub.RepositoryNotFoundError) or (status == 401 and get_token() is None):
        return UserError(
            f"there is no model {name.repository} at {constants.ENDPOINT}, or it is private: check the name, or "
            f"{LOG_IN} as somebody who may read it."
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return UserError(
            f"{name.repository} has no revision {name.revision}: name one of those at {address}/commits/main."
        )
    if isinstance(error, hub.RemoteEntryNotFoundError):
        return UserError(f"{name} holds no model of palgan_jax, which would be a model.safetensors: check the name.")
    if isinstance(error, hub.OfflineModeIsEnabled) or is_offline_mode():
        return UserError(
            f"{name} was never loaded on this machine, and HF_HUB_OFFLINE forbids to ask for it: load it once without "
            "HF_HUB_OFFLINE."
        )
    if status == 401:
        return UserError(f"{constants.ENDPOINT} does not accept the token: {LOG_IN} anew.")
    if status == 403:
        return UserError(f"this token does not allow it at {address}: {LOG_IN} as somebody who may.")
    reason = f"status {status}" if status else one_line(error)
    return UserError(
        f"{constants.ENDPOINT} does not answer as a hub should on {name} ({reason}): check the connection, and try "
        "again later."
    )
