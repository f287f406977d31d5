"""Draws docs/gallery.md: the samples in the colors of the bundled model, of two references and of an edited palette.

It also draws docs/sheet.jpg, which the README shows: every third sample with its predicted palette.

    python examples/gallery.py

All 24 samples are shown, by how much the automatic colors are better than none; those that are worse are called so.
Old photographs, whose colors nobody knows, follow.
"""

import argparse
import io
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from palgan_jax import open_picture
from palgan_jax.colorize.join import join, luminance
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.metrics.psnr import psnr
from palgan_jax.pages import Row, read_credits, write_sheet

ROOT = Path(__file__).resolve().parent.parent
SAMPLES, REFERENCES, OLD = (ROOT / "examples" / name for name in ("samples", "photos", "old"))
PAINTED_LIKE = ("leaves.jpg", "sky-03.jpg")
EDIT = "shift hue=-20 temperature=10"
TILE, GAP = 240, 4  # pixels: the longer side of a picture, and what is between two
QUALITY = 80
MOST_BYTES = 1_600_000


@dataclass(frozen=True)
class Entry:
    """One sample of the gallery; `automatic` and `gray` are PSNRs in dB."""

    name: str
    credit: str
    picture: bytes
    automatic: float
    gray: float
    row: Row

    @property
    def gain(self) -> float:
        return self.automatic - self.gray


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder of gallery.md and gallery/")
    output = parser.parse_args().output.resolve()
    colorizer = Colorizer.load()
    references = [open_picture(REFERENCES / name) for name in PAINTED_LIKE]
    credits = read_credits(SAMPLES / "ATTRIBUTION.md")
    entries = [draw(path, colorizer, references, credits[path.name]) for path in sorted(SAMPLES.glob("*.jpg"))]
    sheet = draw_sheet([entry.row for entry in entries[::3]])
    entries.sort(key=lambda entry: -entry.gain)
    files = {f"{entry.name}.jpg": entry.picture for entry in entries} | {"references.jpg": in_a_row(references)}
    for path in sorted(OLD.glob("*.jpg")):
        picture = open_picture(path)
        restored_pixels = colorizer(picture, restore_contrast=True).pixels
        variants = versions(picture, restored_pixels, colorizer, references, restore_contrast=True)
        files[path.name] = in_a_row([picture, colorizer(picture).pixels, *variants])
    total = sum(map(len, files.values()))
    if total > MOST_BYTES:
        sys.exit(f"the pictures have {total:,} bytes, more than {MOST_BYTES:,}: lower QUALITY or TILE")
    (output / "gallery").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (output / "gallery" / name).write_bytes(content)
    (output / "sheet.jpg").write_bytes(sheet)
    credit_of_file = read_credits(REFERENCES / "ATTRIBUTION.md")
    attributions = "; ".join(f"{name.removesuffix('.jpg')} ({credit_of_file[name]})" for name in PAINTED_LIKE)
    (output / "gallery.md").write_text(page(entries, attributions, colorizer.source), encoding="utf-8")
    print(f"{output / 'gallery.md'}: {len(files)} pictures, {total:,} bytes")
    return 0


def draw(path: Path, colorizer: Colorizer, references: list[np.ndarray], credit: str) -> Entry:
    """Colors one sample in all ways."""
    truth = open_picture(path)
    gray = join(luminance(truth), np.zeros((2, 2, 2), np.float32))
    predicted = colorizer(truth)
    automatic = predicted.pixels
    picture = in_a_row([gray, *versions(truth, automatic, colorizer, references), truth])
    row = Row(path.stem, gray, {"ours": automatic}, truth, predicted.palette)
    return Entry(path.stem, credit, picture, decibels(automatic, truth), decibels(gray, truth), row)


def versions(
    picture: np.ndarray, automatic: np.ndarray, colorizer: Colorizer, references: list[np.ndarray], **options: bool
) -> list[np.ndarray]:
    """Returns a picture as it is colored automatically, with the palette of each reference, and edited."""
    variants = [colorizer(picture, reference=reference, **options).pixels for reference in references]
    return [automatic, *variants, colorizer(picture, edit=EDIT, **options).pixels]


def draw_sheet(rows: list[Row]) -> bytes:
    """Returns a contact sheet of some samples, as a JPEG."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_sheet(rows, folder, "Every third sample", html=False)
        with Image.open(path) as sheet:
            return jpeg(sheet.convert("RGB"))


def decibels(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Returns the PSNR of a picture."""
    return float(psnr(prediction[None], truth[None])[0])


def in_a_row(pictures: list[np.ndarray]) -> bytes:
    """Returns small copies of some pictures beside each other, as a JPEG."""
    tiles = [Image.fromarray(picture) for picture in pictures]
    for tile in tiles:
        tile.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    row = Image.new("RGB", (len(tiles) * (TILE + GAP) - GAP, max(tile.height for tile in tiles)), "white")
    for number, tile in enumerate(tiles):
        row.paste(tile, (number * (TILE + GAP) + (TILE - tile.width) // 2, 0))
    return jpeg(row)


def jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()


def page(entries: list[Entry], references: str, source: str) -> str:
    """Returns the text of gallery.md; `references` and `source` are sentences without an end."""
    gains = [entry for entry in entries if entry.gain > 0]
    failures = [entry for entry in entries if entry.gain <= 0]
    lines = [
        "# Gallery",
        "",
        f"All {len(entries)} photographs of `examples/samples`, on which the model was not trained. From left to",
        "right: gray; automatic; with the palette of the first reference; with that of the second; automatic, but with",
        f"the edit `{EDIT}` of its palette; the truth. The PSNR is that of the automatic colors at full size, the",
        f"gain that over gray. `python examples/gallery.py` draws this page ({source}).",
        "",
        f"The references: {references}.",
        "",
        "![The two references](gallery/references.jpg)",
        "",
        f"## Better than gray: {len(gains)}",
        "",
    ]
    for entry in gains:
        lines += described(entry)
    lines += [f"## Failures, no better than gray: {len(failures)}", ""]
    for entry in reversed(failures):
        lines += described(entry)
    old = read_credits(OLD / "ATTRIBUTION.md")
    lines += [
        f"## Old photographs: {len(old)}",
        "",
        "Sepia and faded, or scratched and stained, as they were scanned; nobody knows their colors. From left to",
        "right: as it is; automatic; then with `--restore-contrast`: automatic; with the palettes of the two",
        "references; automatic with the edit. The automatic colors are pale here: `--saturation` makes them stronger.",
        "`examples/old` has the photographs, and says where they are from.",
        "",
    ]
    for name, credit in old.items():
        lines += [f"**{Path(name).stem}** ({credit})", "", f"![{Path(name).stem}](gallery/{name})", ""]
    return "\n".join(lines).rstrip() + "\n"


def described(entry: Entry) -> list[str]:
    figures = f"PSNR {entry.automatic:.2f} dB, gain {entry.gain:+.2f}"
    return [f"**{entry.name}** ({entry.credit}): {figures}", "", f"![{entry.name}](gallery/{entry.name}.jpg)", ""]


if __name__ == "__main__":
    sys.exit(main())
