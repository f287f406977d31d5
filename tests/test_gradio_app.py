"""examples/gradio_app.py: what its page does, by its function and asked for through its server.

Skipped where Gradio is not installed: it is large, and `pip install -e '.[gradio]'` brings it.
"""

import importlib.util
import os
import tomllib

import numpy as np
import pytest
from PIL import Image

from tests.support.places import ROOT

SAMPLES = ROOT / "examples" / "samples"


def test_a_space_asks_for_what_the_extra_brings():
    requirements = set((ROOT / "examples" / "gradio_requirements.txt").read_text().split("\n")) - {""}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert requirements == {"palgan-jax", *extras["gradio"]}


@pytest.fixture(scope="module")
def app():
    pytest.importorskip("gradio", reason="pip install -e '.[gradio]'")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    spec = importlib.util.spec_from_file_location("gradio_app", ROOT / "examples" / "gradio_app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("default")
def test_a_photograph_comes_back_in_gray_and_in_color(app):
    photograph = str(SAMPLES / "hay-field.jpg")
    (gray, colored), palette = app.colorize(photograph, None, 0.7, "", 1.0)
    assert gray.size == colored.size == (480, 360) and palette.size[0] > 100
    assert np.ptp(np.asarray(colored).astype(int), axis=-1).mean() > 10
    (_, borrowed), _ = app.colorize(photograph, str(SAMPLES / "parrot.jpg"), 0.7, "shift hue=40", 1.3)
    assert np.abs(np.asarray(borrowed).astype(int) - np.asarray(colored)).mean() > 2
    import gradio

    with pytest.raises(gradio.Error, match="sideways"):
        app.colorize(photograph, None, 0.7, "shift sideways", 1.0)


@pytest.mark.filterwarnings("default")
def test_its_server_answers(app):
    from gradio_client import Client, handle_file

    _, address, _ = app.page.launch(prevent_thread_lock=True, quiet=True)
    try:
        client = Client(address, verbose=False)
        name = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
        pictures, palette = client.predict(
            handle_file(str(SAMPLES / "dog.jpg")), None, 0.7, "", 1.0, api_name=next(iter(name))
        )
        with Image.open(pictures[1]) as colored, Image.open(SAMPLES / "dog.jpg") as photograph:
            assert colored.size == photograph.size
        assert os.path.getsize(palette) > 1000  # noqa: PTH202
    finally:
        app.page.close()
