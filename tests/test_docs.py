"""The documents name only files that exist."""

import re

import pytest

from tests.support.places import ROOT

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
DOCUMENTS = ("README.md", "launch/README.md", *PAGES)
ROOTS = (ROOT, ROOT / "palgan_jax", ROOT / "configs", ROOT / "comparisons", ROOT / "launch")
"""A document may leave these folders out of a path."""
WRITTEN = {"model.py"}
"""Files that commands of the documents write."""
MAP = re.compile(r"^```\npalgan_jax/\n.*?^```", re.MULTILINE | re.DOTALL)
"""The tree in docs/architecture.md, which test_package.py compares with the package."""


def named_paths(text: str) -> set[str]:
    """Returns the paths in backticks and in blocks of commands that look like files or folders of the repository."""
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    words = {word.partition(":")[0] for piece in code for word in re.split(r"[\s\"'(),;|=]+", piece)}
    return {word for word in words if re.fullmatch(r"\w[\w./-]*(/|\.(py|sh|toml|yaml))|\w[\w-]*/[\w./-]*\.md", word)}


def exists(path: str) -> bool:
    """Returns True for a path below one of ROOTS, and for the bare name of any module."""
    is_in_package = "/" not in path and any((ROOT / "palgan_jax").rglob(path))
    return path in WRITTEN or is_in_package or any((root / path).exists() for root in ROOTS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_only_files_that_exist(document):
    text = MAP.sub("", (ROOT / document).read_text())
    assert {path for path in named_paths(text) if not exists(path)} == set()
    links = {link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link}
    assert {link for link in links if not ((ROOT / document).parent / link).exists()} == set()


def test_paths_are_recognized():
    text = "`nn/layers.py`, `benchmarks/speed.py`:\n```\npython examples/demo.py --output demo/\n```\n`a / b`, `x.json`"
    assert named_paths(text) == {"nn/layers.py", "benchmarks/speed.py", "examples/demo.py", "demo/"}
    assert exists("nn/layers.py") and not exists("benchmarks/speed.py")
