"""The package as a whole: what importing it costs, which module may import which, and that the pinned versions fit."""

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
import yaml
from packaging.requirements import Requirement

import palgan_jax
from palgan_jax.errors import EXTRA_OF_MODULE, ExitCode
from tests.support.places import ROOT

PACKAGE = ROOT / "palgan_jax"

# The map of the package: a module, or all of a folder, imports only from what stands on lines above its own.
ORDER = """
errors color choices
completion
util
palette distributed
nn config
pretrained pages hub
metrics
data
checkpoint
training
export
colorize prepare benchmark runs publish
evaluation web
finetune
cli
main
"""
LEVEL = {name: level for level, line in enumerate(ORDER.strip().splitlines()) for name in line.split()}
WRITTEN_OUT = "export.pytorch_network"
"""The module that `palgan export RUN model.pt` copies beside the weights, and that nothing here imports."""
ONLY_HERE = {"orbax": {"checkpoint"}, "tensorflow_datasets": {"prepare"}, "grain": {"data"}}


def modules():
    """Dotted name without the package -> file."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            names[name] = path
    return names


MODULES = modules()


def imports(path):
    """Full names of everything that a file imports, inside functions too."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def imports_of_own(path):
    """The modules of this package that a file imports."""
    names = (name.removeprefix("palgan_jax.") for name in imports(path) if name.startswith("palgan_jax."))
    return {name if name in MODULES else name.rpartition(".")[0] for name in names} - {""}


def run_python(code, **environment):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_above(name):
    package = name.partition(".")[0]
    assert package in LEVEL, f"give {package} its line in ORDER"
    for other in imports_of_own(MODULES[name]):
        top = other.partition(".")[0]
        assert top == package or LEVEL[top] < LEVEL[package], f"{name} imports {other}, which does not stand above it"


def test_no_imports_go_in_a_circle():
    # A package's __init__ gathers its modules, so that only the modules themselves are looked at.
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    graph = {name: imports_of_own(path) - packages for name, path in MODULES.items() if name not in packages}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) >= len(graph)


def test_the_order_names_only_what_is_there():
    assert set(LEVEL) == {name.partition(".")[0] for name in MODULES}


@pytest.mark.parametrize("library", ONLY_HERE)
def test_a_library_that_moves_is_imported_in_one_place(library):
    users = {
        name.partition(".")[0]
        for name, path in MODULES.items()
        if any(full.partition(".")[0] == library for full in imports(path))
    }
    assert users <= ONLY_HERE[library]


def test_only_those_parts_of_clu_are_imported_that_need_no_tensorflow():
    clu_modules = {full for path in MODULES.values() for full in imports(path) if full.startswith("clu")}
    assert all(full.split(".")[1] in ("metrics", "parameter_overview", "platform") for full in clu_modules), clu_modules


def test_no_private_modules_of_other_libraries_are_imported():
    for folder in ("palgan_jax", "configs", "examples", "porting", "comparisons", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            private = {full for full in imports(path) if "._" in full and not full.startswith(("palgan_jax", "tests"))}
            assert not private, f"{path} imports {private}"


def test_orbax_is_used_at_all():
    assert any(full.startswith("orbax") for full in imports(MODULES["checkpoint.saving"]))


HEAVY = {"jax", "jaxlib", "flax", "numpy", "orbax", "grain", "tensorflow", "PIL"}


@pytest.mark.parametrize(
    ("names", "absent"),
    [
        pytest.param("palgan_jax, palgan_jax.cli, palgan_jax.errors", HEAVY | {"ml_collections"}, id="command line"),
        pytest.param("palgan_jax.config", HEAVY, id="config"),
    ],
)
def test_what_need_not_load_heavy_libraries_does_not(names, absent):
    result = run_python(f"import sys, {names}; print(*sys.modules)")
    assert result.returncode == 0, result.stderr
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert "palgan_jax" in loaded
    assert not loaded & absent


def test_importing_every_module_touches_no_device():
    # The platform does not exist: the first use of a device would end in an error.
    names = [f"palgan_jax.{name}" for name in MODULES if name not in ("main", WRITTEN_OUT)]
    code = (
        f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
        "import jax\nprint(*sys.modules)\n"
        "try: jax.devices()\nexcept RuntimeError: print('no-such-platform')"
    )
    result = run_python(code, JAX_PLATFORMS="absent", PATH="/usr/bin:/bin")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-1] == "no-such-platform"
    assert "tensorflow" not in result.stdout.split()
    assert "torch" not in result.stdout.split()


def pieces(node):
    """What a literal, an f-string or several of them in a choice or a sum say; a placeholder is an empty piece."""
    if isinstance(node, ast.Constant):
        return [[node.value]]
    if isinstance(node, ast.JoinedStr):
        return [[part.value if isinstance(part, ast.Constant) else "" for part in node.values]]
    if isinstance(node, ast.IfExp):
        return [*pieces(node.body), *pieces(node.orelse)]
    return []


def sentences(path):
    """(line, pieces) of what every UserError of a file says, looked up in the function that it is made by, if any."""
    tree = ast.parse(path.read_text())
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "UserError":
            messages = [node.args[0]]
            if isinstance(messages[0], ast.Call) and isinstance(messages[0].func, ast.Name):
                returns = (n for n in ast.walk(functions[messages[0].func.id]) if isinstance(n, ast.Return))
                messages = [n.value for n in returns if n.value is not None]
            yield from ((n.lineno, parts) for n in messages for parts in pieces(n))


SAYING = [pytest.param(parts, id=f"{name}:{line}") for name, path in MODULES.items() for line, parts in sentences(path)]


def test_the_sentences_of_errors_are_found():
    assert len(SAYING) >= 80


@pytest.mark.parametrize("parts", SAYING)
def test_errors_are_sentences_of_one_style(parts):
    """Lower case at the start but for names, no contractions, the end with a full stop; one line."""
    first, name, last = parts[0], "".join(parts), parts[-1]
    assert first[:1] == "" or not first[0].isupper() or first.startswith(("PalGAN ", "JAX "))
    assert last == "" or last.endswith((".", "?"))
    assert not re.search(r"n't\b|\bcould not\b|\n", name)
    assert ";" not in name, "what to do comes after a colon"


def read_requirements(file):
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def canonical(name):
    return name.lower().replace("_", "-").replace(".", "-")


PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINS = {canonical(r.name): str(r.specifier).removeprefix("==") for r in read_requirements("constraints.txt")}
# Extras whose packages `make test` installs or that a launcher installs beside constraints.txt.
TESTED = ("jax", "train", "prepare", "perceptual", "tensorboard", "gcs", "dev")


def of_others(lines):
    """The requirements among the lines of an extra that are not extras of this package."""
    requirements = map(Requirement, lines)
    return [requirement for requirement in requirements if canonical(requirement.name) != "palgan-jax"]


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_each_range_is_closed_and_holds_the_version_that_was_tested(extra):
    for requirement in of_others(EXTRAS[extra] if extra else PROJECT["dependencies"]):
        operators = {part.operator for part in requirement.specifier}
        assert "==" in operators or {">=", "<"} <= operators, requirement
        if extra in ("", *TESTED):
            assert canonical(requirement.name) in PINS, f"{requirement.name} is not in constraints.txt"
        if canonical(requirement.name) in PINS and not extra.startswith(("porting", "comparisons")):
            assert requirement.specifier.contains(PINS[canonical(requirement.name)]), requirement


def test_requirements_txt_is_the_light_install_and_the_extras_jax_and_train():
    assert list(map(str, read_requirements("requirements.txt"))) == list(
        map(str, of_others([*PROJECT["dependencies"], *EXTRAS["jax"], *EXTRAS["train"]]))
    )


def test_one_range_for_a_package_in_all_extras():
    ranges = {}
    for requirement in of_others(line for lines in (PROJECT["dependencies"], *EXTRAS.values()) for line in lines):
        if "==" not in {part.operator for part in requirement.specifier}:
            ranges.setdefault(requirement.name, set()).add(requirement.specifier)
    assert all(len(specifiers) == 1 for specifiers in ranges.values()), ranges


def test_extras_name_extras_that_exist():
    for lines in EXTRAS.values():
        for requirement in map(Requirement, lines):
            if canonical(requirement.name) == "palgan-jax":
                assert requirement.extras <= set(EXTRAS)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the newest versions are tested on Python 3.12 and newer")
def test_jax_and_flax_are_those_of_the_constraints():
    """A green run says something about the pinned versions only where it ran with them."""
    for name in ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "pillow"):
        assert version(name) == PINS[name]


def test_pyproject_names_files_that_are_there():
    assert all((ROOT / file).is_file() for file in (*PROJECT["license-files"], PROJECT["readme"]))
    assert (ROOT / "LICENSE").read_text().split()[:2] == ["Apache", "License"]
    assert palgan_jax.__version__.count(".") == 2


def test_the_citation_names_this_version_and_the_paper():
    """The keys that the format asks for (citation-file-format.github.io, 1.2.0), of the software and of the paper."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"authors", "cff-version", "message", "title"} <= set(citation)
    assert {"authors", "title", "type"} <= set(citation["preferred-citation"])
    assert citation["version"] == palgan_jax.__version__ and citation["license"] == PROJECT["license"]


def test_an_extra_is_named_for_each_module_that_the_light_install_may_lack():
    """What training and evaluating import beyond the dependencies has its extra in the table of `errors`."""
    light = {"ml_collections", "numpy", "onnx", "onnxruntime", "PIL", "safetensors", "scipy", "simplejpeg", "tqdm"}
    imported = {name: imports(path) for name, path in MODULES.items()}
    assert not any(f"palgan_jax.{WRITTEN_OUT}" in full for names in imported.values() for full in names)
    libraries = {full.partition(".")[0] for name, names in imported.items() if name != WRITTEN_OUT for full in names}
    rest = libraries - light - set(sys.stdlib_module_names) - {"palgan_jax", "tensorboardX", "importlib_resources"}
    assert rest == set(EXTRA_OF_MODULE)


def test_a_command_that_misses_a_package_names_the_extra_that_brings_it(tmp_path):
    code = "import sys; sys.modules['grain'] = None\nfrom palgan_jax.cli import main\nsys.exit(main(sys.argv[1:]))"
    words = ["train", "--config", "configs/tiny.py", "--workdir", str(tmp_path)]
    result = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == ExitCode.BAD_INPUT
    assert result.stderr.splitlines()[-1].endswith("run pip install -e '.[train]'.")
    assert "Traceback" not in result.stderr


def test_configs_and_photographs_travel_with_the_package():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["palgan_jax"]
    files = {path.resolve() for pattern in patterns for path in PACKAGE.glob(pattern)}
    assert files >= {*(ROOT / "configs").glob("*.py"), *(ROOT / "examples").glob("*/*.jpg")}
    assert files >= set(PACKAGE.glob("prepare/lists/*.csv"))
    assert {path.parent.name for path in files} == {
        "bundled",
        "configs",
        "lists",
        "old",
        "photos",
        "samples",
        "page",
        "engine",
    }


def attributed(folder):
    rows = (folder / "ATTRIBUTION.md").read_text().splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("|")]
    return {row[0]: row for row in cells[2:]}


@pytest.mark.parametrize("name", ["photos", "samples", "old"])
def test_each_bundled_photograph_has_its_attribution(name):
    folder = ROOT / "examples" / name
    rows = attributed(folder)
    assert set(rows) == {path.name for path in folder.glob("*.jpg")}
    licenses = (folder / "ATTRIBUTION.md").read_text().partition("## The licenses")[2]
    for file, row in rows.items():
        assert all(row), f"{file} has an empty cell"
        assert row[3].startswith("Public-Domain") or row[3] in licenses, f"{row[3]} of {file} is not explained"


def files_of_the_map():
    """The Python files that the map of docs/architecture.md draws, by the indentation of their folders."""
    drawing = (ROOT / "docs" / "architecture.md").read_text().split("```")[1]
    files, folders = [], []
    for line in drawing.strip().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        words = line.split()
        if words[0].endswith("/"):
            folders = [*folders[:depth], words[0]]
        files += ["".join([*folders[: depth + 1], word]) for word in words if word.endswith(".py")]
    return [file for file in files if file.startswith("palgan_jax/")]


def test_the_map_of_the_architecture_is_true():
    files = files_of_the_map()
    assert len(files) == len(set(files))
    names = {path.relative_to(ROOT).as_posix() for path in MODULES.values() if path.name != "__init__.py"}
    assert set(files) == names
