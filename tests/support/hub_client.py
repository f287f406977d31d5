"""huggingface_hub as a new process has it: it reads its settings from the environment when it is imported."""

import sys

from tests.support.hub_server import Hub


def forget_client() -> None:
    """Has huggingface_hub imported anew where it is imported next."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]


def use_hub(monkeypatch, hub: Hub, home, token: str | None = None, offline: bool = False) -> None:
    """Has huggingface_hub ask `hub`, with its cache and everything else in the folder `home`."""
    settings = {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(home),
        "HF_TOKEN": token,
        "HF_HUB_OFFLINE": "1" if offline else None,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    for name, value in settings.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    for name in (
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_TOKEN_PATH",
        "TRANSFORMERS_OFFLINE",
    ):
        monkeypatch.delenv(name, raising=False)
    forget_client()
