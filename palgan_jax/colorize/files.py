"""One picture file in, the bytes of one picture file out.

What is decided here:

- The result is upright, and its EXIF says so: viewers that know no orientation tag show it right, too.
- It is sRGB and says so, whatever the file was (`palgan_jax.data.decode` converts); other profiles are not copied.
- It has 16 bits where the picture has and the format of the result can.
- Transparency is kept to the level. The model sees the picture as on white paper, and what is written under the
  transparency is as light as it was.
- What the file says beside its pixels is kept (`palgan_jax.colorize.metadata`).
"""

import io
import mmap
from dataclasses import dataclass
from pathlib import Path

from palgan_jax.colorize.metadata import Metadata, is_marked, no_metadata, read_metadata
from palgan_jax.data.decode import ALBUMS, MAX_PIXELS, decode_picture, orientation, quiet_pillow
from palgan_jax.data.file_bytes import is_pipe
from palgan_jax.data.formats import open_header
from palgan_jax.data.picture import Picture
from palgan_jax.data.tiff_pages import directory_of_picture


@dataclass(frozen=True, eq=False)
class Photograph:
    """A picture file, read.

    Attributes:
      picture: what it shows, upright.
      metadata: what its result is to say beside the pixels.
    """

    picture: Picture
    metadata: Metadata


def read_photograph(data: bytes, name: str, max_pixels: int = MAX_PIXELS, page: int | None = None) -> Photograph:
    """Decodes a picture file with what its result is to keep. Raises UserError as `read_rgb` does.

    page: which of several pictures of the file, from 0 on; None for the first, with a note about the others.
    """
    picture = decode_picture(data, name=name, max_pixels=max_pixels, page=page)
    return Photograph(picture, metadata_of(data, name, page))


def metadata_of(source: bytes | Path, name: str, page: int | None = None) -> Metadata:
    """Reads what a picture file's result is to say beside its pixels: nothing where Pillow knows no such layout.

    page: that of `read_photograph`; pages of a TIFF and pictures of an album have captions of their own.
    """
    try:
        stream = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
        with quiet_pillow, stream as file, open_header(file, name) as header:
            if header.format == "TIFF":
                data = source if isinstance(source, bytes) else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                header.seek(directory_of_picture(data, page or 0))
            elif header.format in ALBUMS:
                header.seek(page or 0)
            return read_metadata(header, turned=orientation(header) >= 5)
    except Exception:
        return no_metadata()


def is_result(path: Path) -> bool:
    """Returns True where a picture file says that it is a result of `palgan colorize`; reads the header alone."""
    if is_pipe(path):
        return False
    try:
        with quiet_pillow, path.open("rb") as file, open_header(file, str(path)) as picture:
            return is_marked(picture)
    except Exception:  # whatever broken headers raise
        return False
