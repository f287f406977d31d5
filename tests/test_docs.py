"""The documents name only files that exist, and the map in docs/architecture.md all modules of the package."""

import re

import pytest

from tests.support.places import ROOT

DOCUMENTS = ("README.md", "launch/README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
ROOTS = (ROOT, ROOT / "palgan_jax", ROOT / "configs", ROOT / "comparisons", ROOT / "launch")
"""A document may leave these folders out of a path."""
MAP = re.compile(r"^```\npalgan_jax/\n(.*?)^```", re.MULTILINE | re.DOTALL)


def named_paths(text: str) -> set[str]:
    """Returns the paths in backticks and in blocks of commands that look like files or folders of the repository."""
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    words = {word.partition(":")[0] for piece in code for word in re.split(r"[\s\"'(),;|=]+", piece)}
    return {word for word in words if re.fullmatch(r"\w[\w./-]*(/|\.(py|sh|toml|yaml))|\w[\w-]*/[\w./-]*\.md", word)}


def modules_of_map(text: str) -> set[str]:
    """Returns the paths of the modules in the map: names at the start of a line, in the folders that it is in."""
    folders, modules = {0: ""}, set()
    for line in text.splitlines():
        names = re.match(r"( *)((?:[\w]+(?:/|\.py)\s*)*)", line)
        assert names is not None
        indent = len(names[1])
        folder = folders[max(width for width in folders if width < indent)] if indent else ""
        folders = {width: path for width, path in folders.items() if width < indent} | {0: ""}
        for name in names[2].split() if indent else ():
            if name.endswith("/"):
                folder = folders[indent] = folder + name
            else:
                modules.add(folder + name)
    return modules


def exists(path: str) -> bool:
    """Returns True for a path below one of ROOTS, and for the bare name of any module."""
    anywhere = "/" not in path and any((ROOT / "palgan_jax").rglob(path))
    return anywhere or any((root / path).exists() for root in ROOTS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_only_files_that_exist(document):
    text = MAP.sub("", (ROOT / document).read_text())
    assert {path for path in named_paths(text) if not exists(path)} == set()
    links = {link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link}
    assert {link for link in links if not ((ROOT / document).parent / link).exists()} == set()


def test_the_map_has_all_modules_and_no_others():
    tree = MAP.search((ROOT / "docs" / "architecture.md").read_text())
    assert tree is not None
    files = (path.relative_to(ROOT / "palgan_jax").as_posix() for path in (ROOT / "palgan_jax").rglob("*.py"))
    assert modules_of_map(tree[1]) == {file for file in files if not file.endswith("__init__.py")}


def test_paths_are_recognized():
    text = "`nn/layers.py`, `benchmarks/speed.py`:\n```\npython examples/demo.py --output demo/\n```\n`a / b`, `x.json`"
    assert named_paths(text) == {"nn/layers.py", "benchmarks/speed.py", "examples/demo.py", "demo/"}
    assert exists("nn/layers.py") and not exists("benchmarks/speed.py")
    tree = "  a/\n    b.py  c.py   words\n    d/  e.py\n  f.py"
    assert modules_of_map(tree) == {"a/b.py", "a/c.py", "a/d/e.py", "f.py"}
