"""The page of `palgan web --static` at an address of this machine, and the runtime that it needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from palgan_jax.errors import UserError
from palgan_jax.web import runtime
from tests.support.file_server import answering
from tests.support.places import ROOT

CACHE = ROOT / ".cache" / "npm"


def runtime_package(patch: pytest.MonkeyPatch) -> Path:
    """The package of the runtime, which is downloaded once for a checkout; skips where it cannot be had."""
    patch.setenv("PALGAN_CACHE", str(CACHE))
    try:
        runtime.runtime_files()
    except UserError as error:
        pytest.skip(f"needs onnxruntime-web from the registry of npm: {error}")
    return CACHE / f"onnxruntime-web-{runtime.VERSION}.tgz"


@contextmanager
def offered(folder: Path) -> Iterator[str]:
    """Offers a folder as any web server does, below another one; yields its address."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args, **options) -> None:
            super().__init__(*args, directory=str(folder.parent), **options)

        def log_message(self, *_: object) -> None:
            pass

    with answering(Handler) as port:
        yield f"http://127.0.0.1:{port}/{folder.name}/"
