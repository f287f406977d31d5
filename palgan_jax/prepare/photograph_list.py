"""The list of the photographs that the bundled model is trained on, and of the Debian packages that hold them.

`lists/photographs.csv` and `lists/packages.csv` are made by porting/make_photograph_list.py.
"""

import csv
import io
from dataclasses import dataclass
from importlib.resources import files

POOLS = "https://deb.debian.org/"
SNAPSHOTS = "https://snapshot.debian.org/archive/"


@dataclass(frozen=True)
class Package:
    """A Debian package.

    Attributes:
      pool: its address below https://deb.debian.org/, which has each version as long as a release of Debian has it.
      snapshot: a time at which it was there, as snapshot.debian.org, which keeps all versions, writes it.
      size: in bytes.
    """

    package: str
    version: str
    pool: str
    snapshot: str
    size: int
    sha256: str

    @property
    def file(self) -> str:
        """The name of its file."""
        return self.pool.rpartition("/")[2]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of its file."""
        archive, _, path = self.pool.partition("/")
        return (f"{POOLS}{self.pool}", f"{SNAPSHOTS}{archive}/{self.snapshot}/{path}")


@dataclass(frozen=True)
class Photograph:
    """A photograph in a package.

    Attributes:
      file: its name here, such as `train/0430_cat.jpg`.
      path: the path of its file in the package, and, behind `!`, what of it: a path in a Qt resource,
        `bytes@OFFSET+LENGTH`, or `bz2raw@HEIGHTxWIDTHx3` for samples that bzip2 has compressed.
      edit: what is done before it is made smaller: nothing, `crop=LEFT,TOP,WIDTH,HEIGHT` or `turn=DEGREES`, in pixels
        and counterclockwise.
      width, height: in pixels, as it is written here.
      source_sha256: of what `path` names; of the compressed bytes where it is `bz2raw`.
      sha256: of the file that is written here by the Pillow of constraints.txt.
    """

    file: str
    package: str
    path: str
    edit: str
    width: int
    height: int
    subject: str
    license: str
    author: str
    source_sha256: str
    sha256: str

    @property
    def member(self) -> str:
        """The path of its file in the package."""
        return self.path.partition("!")[0]


def read_packages() -> list[Package]:
    """Returns the packages."""
    return [Package(size=int(row.pop("size")), **row) for row in _rows("packages.csv")]


def read_photographs() -> list[Photograph]:
    """Returns the photographs, those for training first."""
    return [
        Photograph(width=int(row.pop("width")), height=int(row.pop("height")), **row)
        for row in _rows("photographs.csv")
    ]


def _rows(name: str) -> list[dict[str, str]]:
    text = files("palgan_jax.prepare").joinpath("lists", name).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))
