"""A server with a tiny model: within the tests' process, and as the command that people run."""

import json

import pytest
from starlette.testclient import TestClient

from palgan_jax.checkpoint.weights_file import save_weights
from palgan_jax.cli import main
from palgan_jax.colorize.engines import choose_engine
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.web.app import Service, application
from tests.support.colorize_model import tiny_weights
from tests.support.picture_files import RGB, encoded
from tests.support.web_page import CHROMIUM, chromium, serving


def colorizer_of(weights) -> Colorizer:
    """The colorizer that the commands take."""
    return Colorizer(weights, choose_engine("auto", weights))


LOCAL = "http://127.0.0.1:8765"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, tiny_weights())
    return path


@pytest.fixture(scope="session")
def service() -> Service:
    return Service(colorizer_of(tiny_weights()))


@pytest.fixture
def client(service) -> TestClient:
    return TestClient(application(service), base_url=LOCAL)


@pytest.fixture
def stored_picture(client) -> dict:
    """What is answered for a picture of 48 x 40 pixels."""
    answer = client.post("/api/pictures?name=boat.png", content=encoded(RGB, "PNG"))
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="session")
def server(checkpoint):
    """The address of `palgan web` in a process of its own, and that process."""
    with serving("--checkpoint", str(checkpoint)) as running:
        yield running


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with chromium() as browser:
        yield browser


@pytest.fixture
def by_command(checkpoint, tmp_path):
    """Colorizes a picture by `palgan colorize`; returns the file of the result."""

    def colorize(picture, *options, kind="png"):
        target = tmp_path / f"by-command.{kind}"
        words = [str(picture), "-o", str(target), "--overwrite", "--checkpoint", str(checkpoint), *map(str, options)]
        assert main(["colorize", *words]) == 0
        return target

    return colorize


@pytest.fixture
def palette_file(tmp_path):
    """Writes shares as a palette file."""

    def write(shares, name="palette.json"):
        from palgan_jax.palette.palette import Palette

        path = tmp_path / name
        path.write_bytes(Palette(shares).to_json())
        assert json.loads(path.read_text())["shares"]
        return path

    return write
