"""The site of docs/: its navigation, its anchors, the reference, and the pages that show code and commands."""

import importlib.util
import re
import shlex
import shutil
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml
from PIL import Image

import palgan_jax
import palgan_jax.nn
from palgan_jax import cli
from palgan_jax.data import source
from palgan_jax.data.protocols import Pictures
from palgan_jax.errors import ExitCode, UserError
from palgan_jax.evaluation.command import check_arguments
from palgan_jax.metrics.catalogue import METRICS
from palgan_jax.metrics.measure import measure
from tests.support.places import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
TUTORIALS = [page for page in PAGES if page.startswith("tutorials/")]


class Settings(yaml.SafeLoader):
    """Reads mkdocs.yml without running what it names."""


Settings.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


def entries(nav: list) -> list[str]:
    """Returns the pages of a navigation, those of its parts too."""
    values = [value for item in nav for value in item.values()]
    return [page for value in values for page in (entries(value) if isinstance(value, list) else [value])]


def blocks(page: str, language: str = "python") -> list[str]:
    """Returns the blocks of code on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def test_the_navigation_names_each_page_once():
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(), Settings)
    assert sorted(entries(settings["nav"])) == PAGES
    assert settings["theme"]["font"] is False, "pages fetch nothing from elsewhere"


def anchors(page: Path) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = (heading.replace("`", "").lower() for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "../README.md", "../launch/README.md"])
def test_links_end_at_headings_that_exist(page):
    links = re.findall(r"\]\(([^)\s]*\.md)?#([^)\s]+)\)", (DOCS / page).read_text())
    for file, anchor in links:
        target = (DOCS / page).parent / file if file else DOCS / page
        assert anchor in anchors(target), f"{page}: {file}#{anchor}"


def test_pages_of_the_site_link_to_nothing_outside_of_it():
    for page in PAGES:
        links = [link for link in re.findall(r"\]\(([^)#]+)", (DOCS / page).read_text()) if "://" not in link]
        assert all(((DOCS / page).parent / link).resolve().is_relative_to(DOCS) for link in links), page


@pytest.fixture(scope="module")
def api():
    spec = importlib.util.spec_from_file_location("write_api", DOCS / "write_api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_docstrings_say(api):
    assert (DOCS / "api.md").read_text() == api.page(), "run make format"


def test_the_reference_names_all_that_is_public(api):
    page = (DOCS / "api.md").read_text()
    for module in (palgan_jax, palgan_jax.nn):
        assert all(f"from {module.__name__} import {name}\n" in page for name in module.__all__)
    for kind in (palgan_jax.Colorizer, palgan_jax.Palette):
        methods = {name for name in vars(kind) if callable(getattr(kind, name)) and not name.startswith("_")}
        assert {name for name in methods if f"#### `{kind.__name__}.{name}`\n" not in page} == set()
    for _, groups in api.SECTIONS:
        for module, _, names in groups:
            assert all(hasattr(importlib.import_module(module), name) for name in names), module


def commands(page: str) -> list[str]:
    """Returns the commands of palgan in the blocks of a page, lines that go on joined, without comments."""
    text = "\n".join(blocks(page, "")).replace("\\\n", " ")
    lines = [re.sub(r"\s+# .*", "", line) for line in text.splitlines()]
    return [line for line in lines if line.startswith("palgan ")]


def inline_commands(text: str) -> list[str]:
    """Returns the commands of palgan in the sentences of a text, each as one line."""
    sentences = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(code.split()) for code in re.findall(r"`(palgan [a-z][^`]*)`", sentences)]


def refusal(line: str, capsys) -> str:
    """Returns what the program says against a command, without running it; "" where it would run."""
    parser = cli._parser(cli.COMMANDS)
    try:
        args, rest = parser.parse_known_args(shlex.split(line)[1:])
        if args.command == "evaluate" and not args.action:
            check_arguments(args)
    except SystemExit as end:
        return capsys.readouterr().err if end.code else ""
    except UserError as error:
        return str(error)
    fields = args.command in cli.TAKE_CONFIG_FIELDS and all(word.startswith("--config.") for word in rest)
    return "" if fields else " ".join(rest)


NAME = re.compile(r"palgan( [a-z]+){1,2}( --[\w-]+( [^ -]\S*)?)?")
"""What only names a command, with an option of it at most: such a name is no whole command."""
LACKS = re.compile(r"the following arguments are required|expected (one|at least one) argument|needs --")


def inline_refusal(line: str, capsys) -> str:
    """Returns what is wrong with a command in a sentence. Names of commands may lack arguments, and so may `...`."""
    words = line.removesuffix(" ...")
    reason = refusal(words, capsys)
    return "" if LACKS.search(reason) and (words != line or NAME.fullmatch(line)) else reason


@pytest.mark.parametrize("page", [*PAGES, "../README.md"])
def test_the_commands_of_the_documents_are_understood(page, capsys):
    for line in commands(page):
        assert not refusal(line, capsys), line
    for line in inline_commands((DOCS / page).read_text()):
        assert not inline_refusal(line, capsys), line


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("`palgan evaluate --truth folder:photos --metrics psnr`", "needs --output"),
        ("`palgan evaluate --truth folder:photos\n--output results --train folder:others`", "--train is for"),
        ("`palgan evaluate --truth folder:photos [--palette truth]`", "invalid choice"),
        ("`palgan colorize old --output colored --colour 2`", "--colour 2"),
        ("`palgan evaluate compare A B --pages all`", "--pages all"),
        ("`palgan evaluate --palette mean`, `palgan web --static`, `palgan runs show`, `palgan train ...`", ""),
        ("`palgan export CHECKPOINT FILE` and `palgan evaluate compare A B`", ""),
    ],
)
def test_commands_in_sentences_that_would_be_refused_are_noticed(text, reason, capsys):
    lines = inline_commands(text)
    reasons = [inline_refusal(line, capsys) for line in lines]
    assert lines and all(reason in one if reason else not one for one in reasons), reasons


def test_the_album_is_colorized_by_the_commands_of_its_page(tmp_path, monkeypatch, samples):
    (tmp_path / "album").mkdir()
    for name in ("dog.jpg", "hay-field.jpg"):
        with Image.open(samples / name) as picture:
            picture.reduce(2).save(tmp_path / "album" / name)
    monkeypatch.chdir(tmp_path)
    for line in commands("tutorials/album.md"):
        assert cli.main(shlex.split(line)[1:]) == ExitCode.FINISHED, line
    assert {path.name for path in (tmp_path / "colored").glob("*.png")} == {"dog.png", "hay-field.png"}
    results = ("dog.png", "like-the-field.png", "known.png")
    assert len({(tmp_path / name).read_bytes() for name in results}) == 3
    assert (tmp_path / "palette.png").exists() and len(list(tmp_path.glob("dog*.png"))) == 3


def test_the_code_that_turns_photographs_into_inputs_runs(tmp_path, monkeypatch, samples):
    shutil.copy(samples / "dog.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("tutorials/other_frameworks.md")
    page: dict = {}
    exec(code, page)
    assert page["colored"].shape == page["rgb"].shape
    assert np.ptp(page["colored"].astype(int), axis=-1).mean() > 5


def test_the_code_that_runs_an_onnx_model_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", "bundled", "model.onnx"]) == ExitCode.FINISHED
    (code,) = (block for block in blocks("export.md") if "onnxruntime" in block)
    page: dict = {}
    exec(code, page)
    assert page["ab"].shape == (1, 2, 256, 256) and page["palette"].shape == (1, 256)


def test_the_metric_of_the_tutorial_is_measured(monkeypatch):
    page: dict = {}
    for code in blocks("tutorials/metric.md"):
        exec(code, page)
    monkeypatch.setitem(METRICS, page["row"].name, page["row"])
    ab = np.zeros((2, 4, 4, 2), np.float32)
    ab[0, :1] = (3, 5)  # chroma 5.8: a quarter of the first picture
    ab[1, :, :3] = -4  # chroma 5.7: three quarters of the second
    values = jax.jit(lambda ab: measure({}, {"predicted_ab": ab}, ["gray_share"]))(ab)
    np.testing.assert_allclose(values["gray_share"], [0.75, 0.25])


def test_the_source_of_the_tutorial_is_read_like_others(tmp_path, monkeypatch, samples):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in ("dog.jpg", "parrot.jpg"):
            archive.write(samples / name, name)
        archive.writestr("broken.jpg", b"no picture")
        archive.writestr("notes.txt", b"none either")
    page: dict = {"__name__": "tutorial"}
    (code,) = blocks("tutorials/source.md")
    exec(code, page)
    pictures = page["ZipPictures"](tmp_path / "photos.zip")
    expected = {name for name in vars(Pictures) if not name.startswith("_") or name == "__len__"}
    assert all(hasattr(pictures, name) for name in expected)
    monkeypatch.setattr(source, "stored_pictures", lambda spec, tfds_dir: pictures)
    folder = source.open_source("folder:photos", cache_dir=tmp_path)
    assert folder.counts == {"found": 3, "used": 2, "near_gray": 0, "unreadable": 1}
    with Image.open(samples / "parrot.jpg") as parrot:
        difference = folder.read(1).astype(int) - np.asarray(parrot.convert("RGB"))
    assert folder.picture_name(1) == "parrot.jpg" and np.abs(difference).mean() < 1
    with pytest.raises(UserError, match=r"no zip archive of pictures"):
        page["ZipPictures"](tmp_path / "absent.zip")


def test_the_tour_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page: dict = {}
    for code in blocks("tour.md"):
        exec(code, page)
    result, edited = page["result"], page["edited"]
    with Image.open(tmp_path / "hay-field.png") as saved:
        assert result.image.size == edited.image.size == saved.size
    assert np.abs(np.asarray(edited.image).astype(int) - np.asarray(result.image)).mean() > 1
    assert {path.name for path in tmp_path.iterdir()} == {"hay-field.png", "warmer.json", "model.onnx"}
