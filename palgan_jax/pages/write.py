"""Writes a contact sheet to a folder: sheet.png and, where asked for, index.html."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from palgan_jax.pages.contact_sheet_html import page
from palgan_jax.pages.contact_sheet_png import draw_sheet
from palgan_jax.pages.rows import Curve, Row
from palgan_jax.util.files import make_folder, write_file


def write_sheet(
    rows: Sequence[Row],
    output_dir: str | Path,
    title: str,
    notes: Sequence[str] = (),
    *,
    curves: Sequence[Curve] = (),
    name: str = "sheet.png",
    html: bool = True,
) -> Path:
    """Writes `output_dir/name`, and `output_dir/index.html` unless html is False; makes the folder.

    Args:
      rows: the pictures, at least one.
      output_dir: the folder.
      title: what the sheet shows.
      notes: a line each, such as which checkpoint and step the colors come from.
      curves: training curves, for the page only.
      name: file name of the picture.
      html: whether to write the page; samples drawn while training need none.

    Returns the path of the PNG. Raises UserError where the folder cannot be written to.
    """
    folder = Path(output_dir)
    make_folder(folder)
    buffer = io.BytesIO()
    sheet = draw_sheet(rows, title, notes)
    Image.fromarray(sheet).save(buffer, "PNG", compress_level=4)
    write_file(folder / name, buffer.getvalue())
    if html:
        write_file(folder / "index.html", page(rows, title, notes, curves).encode())
    return folder / name
