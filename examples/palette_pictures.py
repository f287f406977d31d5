"""Draws the pictures of docs/colorize.md, by the commands that stand there.

python examples/palette_pictures.py
"""

import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from palgan_jax.cli import main as palgan
from palgan_jax.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
PAGE, PICTURES, SAMPLES = (ROOT / name for name in ("docs/colorize.md", "docs/colorize", "examples/samples"))
WIDTH, SHEET_WIDTH, SIDE = 400, 800, 320  # pixels


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "examples" / "samples"
        for name in ("samples", "old"):
            shutil.copytree(SAMPLES.parent / name, samples.parent / name)
        shutil.copytree(PICTURES, Path(folder) / "docs" / "colorize")
        for command in commands(PAGE.read_text()):
            run(command, samples)
        for name in ("auto", "reference", "palette", "edited"):
            shrink(samples / f"{name}.jpg", PICTURES / f"{name}.jpg", WIDTH)
        shrink(samples / "samples" / "hay-samples.jpg", PICTURES / "samples.jpg", SHEET_WIDTH)
        shutil.copyfile(samples / "parrot.png", PICTURES / "parrot.png")
        parts = (samples / "air-balloon.jpg", PICTURES / "balloon.png", samples / "red.png")
        side_by_side(parts, PICTURES / "regions.jpg")
        prints = (samples.parent / "old" / "expedition-1897.jpg", samples / "faded.jpg", samples / "restored.jpg")
        side_by_side(prints, PICTURES / "contrast.jpg")
    return 0


def commands(text: str) -> list[str]:
    """Returns the commands on the page that write into the folder of the samples."""
    blocks = re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    shown_commands = ("palgan colorize old", "palgan colorize street")
    return [line for line in lines if line.startswith("palgan ") and not line.startswith(shown_commands)]


def run(command: str, folder: Path) -> None:
    """Runs a command in a folder, and ends this program where it fails."""
    os.chdir(folder)
    if code := palgan(shlex.split(command, comments=True)[1:]):
        raise UserError(f"{command!r} of {PAGE} ended with {code}.")


def shrink(source: Path, target: Path, width: int) -> None:
    """Writes a picture smaller, as JPEG."""
    with Image.open(source) as picture:
        height = round(picture.height * width / picture.width)
        picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS).save(target, quality=88)


def side_by_side(sources: tuple[Path, ...], target: Path) -> None:
    """Writes pictures beside each other, in the shape of the first."""
    with Image.open(sources[0]) as first:
        size = SIDE, round(SIDE * first.height / first.width)
    row = Image.new("RGB", (SIDE * len(sources), size[1]))
    for i, source in enumerate(sources):
        with Image.open(source) as picture:
            row.paste(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS), (i * SIDE, 0))
    row.save(target, quality=88)


if __name__ == "__main__":
    sys.exit(main())
