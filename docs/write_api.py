"""Writes docs/api.md, the reference of what programs may import, from the docstrings of the package.

    python docs/write_api.py

Reads the sources and imports none, so that signatures stand there as they were written.
"""

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "palgan_jax"
PAGE = Path(__file__).with_name("api.md")
# A heading, then the names under it: (where they are imported from, the file that defines them, names).
SECTIONS = (
    (
        "Colorizing",
        (
            ("palgan_jax", "colorize/predictor.py", ("Colorizer",)),
            ("palgan_jax.colorize.call_options", "colorize/call_options.py", ("Options",)),
            ("palgan_jax.colorize.result", "colorize/result.py", ("Result",)),
            ("palgan_jax", "__init__.py", ("open_picture",)),
            ("palgan_jax.colorize.join", "colorize/join.py", ("luminance", "squash", "join")),
        ),
    ),
    (
        "Palettes",
        (
            ("palgan_jax", "palette/palette.py", ("Palette",)),
            ("palgan_jax.palette.swatches", "palette/swatches.py", ("Swatch",)),
            ("palgan_jax.palette.spec", "palette/spec.py", ("PaletteSpec",)),
            ("palgan_jax.palette.histogram", "palette/histogram.py", ("histogram",)),
        ),
    ),
    ("Errors", (("palgan_jax.errors", "errors.py", ("UserError", "ExitCode")),)),
    (
        "Trained models",
        (
            ("palgan_jax.checkpoint.find", "checkpoint/find.py", ("find_weights",)),
            ("palgan_jax.checkpoint.weights", "checkpoint/weights.py", ("Weights",)),
            ("palgan_jax.checkpoint.weights_file", "checkpoint/weights_file.py", ("save_weights", "load_weights")),
            ("palgan_jax.export.onnx_model", "export/onnx_model.py", ("onnx_model", "save_onnx")),
            ("palgan_jax.export.pytorch_file", "export/pytorch_file.py", ("save_pytorch",)),
            ("palgan_jax.export.stablehlo", "export/stablehlo.py", ("stablehlo", "save_stablehlo")),
        ),
    ),
    (
        "Networks",
        (
            ("palgan_jax.nn", "nn/palgan.py", ("PalGAN",)),
            ("palgan_jax.nn", "nn/palette_generator.py", ("PaletteGenerator",)),
            ("palgan_jax.nn", "nn/assignment_generator.py", ("PaletteAssignmentGenerator",)),
            ("palgan_jax.nn", "nn/discriminator.py", ("ColorDiscriminator",)),
            ("palgan_jax.nn.build", "nn/build.py", ("build_generator",)),
        ),
    ),
    ("Colors", (("palgan_jax.color", "color.py", ("rgb_to_lab", "lab_to_rgb", "colorfulness")),)),
)
HEAD = """# API reference

What programs may import; all else may change with any version. `python docs/write_api.py` writes this page.
[The palette in your hands](colorize.md#from-python) and [a tour](tour.md) show how it is used.
"""
LABELS = ("Args", "Attributes", "Returns", "Raises")


def page() -> str:
    """Returns the text of docs/api.md."""
    parts = [HEAD]
    for heading, groups in SECTIONS:
        parts.append(f"## {heading}\n")
        for module, file, names in groups:
            source = (PACKAGE / file).read_text("utf-8")
            defined = {node.name: node for node in definitions(ast.parse(source))}
            for name in names:
                parts += entry(module, defined[name], source)
    return "\n".join(parts)


def definitions(tree: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Yields the classes and functions of a module or class that are public, without the overloads of one."""
    for node in tree.body:
        decorators = {ast.unparse(decorator) for decorator in getattr(node, "decorator_list", [])}
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and "overload" not in decorators:
            yield node


def entry(module: str, node: ast.ClassDef | ast.FunctionDef, source: str) -> list[str]:
    """Returns the paragraphs about a class or function, and about the public members of a class."""
    imported = f"from {module} import {node.name}"
    if isinstance(node, ast.FunctionDef):
        return [f"### {node.name}\n", code(imported, "", signature(node, source)), text_of(node)]
    methods = [item for item in definitions(node) if isinstance(item, ast.FunctionDef)]
    inits = [method for method in methods if method.name == "__init__"]
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign | ast.Assign)]
    head = [signature(init, source).replace("__init__", node.name, 1).removesuffix(" -> None") for init in inits]
    head = head or [ast.get_source_segment(source, field) or "" for field in fields]
    parts = [f"### {node.name}\n", code(imported, "", *head), *map(text_of, [node, *inits])]
    for method in methods:
        if ast.get_docstring(method) and (method.name == "__call__" or not method.name.startswith("_")):
            parts += [f"#### `{node.name}.{method.name}`\n", code(signature(method, source)), text_of(method)]
    return parts


def signature(node: ast.FunctionDef, source: str) -> str:
    """Returns a function's name, parameters and result as they were written; of a property, its name and type."""
    lines = source.splitlines()[node.lineno - 1 : node.body[0].lineno - 1]
    text = textwrap.dedent("\n".join(lines)).removeprefix("def ").removesuffix(":")
    text = re.sub(r"\((\s*)(?:self|cls)(?:,\s+|(?=\)))", r"(\1", text, count=1)
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    if "property" in decorators:
        return text.replace("() -> ", ": ", 1)
    return "".join(f"@{each}\n" for each in decorators if each in ("classmethod", "staticmethod")) + text


def code(*lines: str) -> str:
    """Returns lines as a block of Python."""
    return "```python\n" + "\n".join(lines) + "\n```\n"


def text_of(node: ast.ClassDef | ast.FunctionDef) -> str:
    """Returns a docstring as Markdown: its labels in bold, and what stands under them as a list."""
    lines: list[str] = []
    label_above = ""
    for line in (ast.get_docstring(node) or "").splitlines():
        label = line.rstrip(":") if line.endswith(":") and line.rstrip(":") in LABELS else ""
        if label:
            label_above = label
            lines += [f"**{label}**", ""]
        elif label_above and re.match(r"  \S", line) and ": " in line:
            name, _, meaning = line.strip().partition(": ")
            lines.append(f"- `{name}`: {meaning}")
        elif label_above and line.startswith("  "):
            lines.append(f"  {line.strip()}" if lines[-1].startswith(("-", "  ")) else line.strip())
        else:
            label_above = label_above if line else ""
            lines.append(line)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
