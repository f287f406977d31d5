"""`palgan prepare photographs` with two small packages and a server on this machine, and the list that is shipped."""

import bz2
import csv
import dataclasses
import hashlib
import io
import re
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from palgan_jax.cli import main
from palgan_jax.data.decode import decode_rgb
from palgan_jax.errors import ExitCode, UserError
from palgan_jax.prepare import photograph_list
from palgan_jax.prepare.photograph_jpeg import make_jpeg, take_source
from palgan_jax.prepare.photograph_list import Package, Photograph, read_packages, read_photographs
from palgan_jax.prepare.photographs import make_photographs
from palgan_jax.util.text import in_words
from tests.support.debian_packages import make_package
from tests.support.file_server import serve
from tests.support.picture_files import ADOBE, gamma_curve, rgb_profile
from tests.support.places import GOLDEN, ROOT

Y, X = np.mgrid[:400, :600]
SCENE = np.stack([X * 255 // 599, 200 - Y * 150 // 399, 60 + (X + Y) * 120 // 998], axis=-1).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def photograph(path: str = "usr/a.jpg", edit: str = "", **fields: object) -> Photograph:
    empty = dict.fromkeys((field.name for field in dataclasses.fields(Photograph)), "")
    return Photograph(**{**empty, "package": "one", "path": path, "edit": edit, **fields})


def jpeg_pixels(source: bytes, *args: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(make_jpeg(source, photograph(*args)))))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


# ------------------------------------------------------------------------------------------------- one photograph


@pytest.mark.parametrize(
    ("size", "expected"),
    [((600, 400), (600, 400)), ((1200, 800), (768, 512)), ((600, 1800), (341, 1024)), ((1920, 1080), (910, 512))],
)
def test_the_shorter_side_is_512_at_most_and_the_longer_1024(size, expected):
    pixels = np.asarray(Image.fromarray(SCENE).resize(size))
    result = jpeg_pixels(encoded(pixels, quality=95))
    assert result.shape == (*expected[::-1], 3)
    assert psnr(result, np.asarray(Image.fromarray(pixels).resize(expected, Image.Resampling.BOX))) > 35


def test_a_photograph_comes_out_upright_and_in_srgb_as_training_reads_it():
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = rgb_profile(ADOBE, gamma_curve(1.8))
    source = encoded(SCENE, quality=95, exif=exif, icc_profile=profile)
    result = jpeg_pixels(source)
    assert result.shape == (600, 400, 3)
    assert psnr(result, decode_rgb(source, name="a.jpg")) > 38
    assert psnr(result, np.rot90(SCENE, -1)) < 30, "the profile changes the colors"


def test_transparency_becomes_white():
    alpha = np.where(X < 300, 0, 255).astype(np.uint8)
    result = jpeg_pixels(encoded(np.dstack([SCENE, alpha]), "PNG"))
    assert result[:, :290].min() > 245 and psnr(result[:, 310:], SCENE[:, 310:]) > 38


def test_edits_crop_and_turn():
    source = encoded(SCENE, "PNG")
    assert psnr(jpeg_pixels(source, "usr/a.png", "crop=100,50,300,200"), SCENE[50:250, 100:400]) > 38
    assert psnr(jpeg_pixels(source, "usr/a.png", "turn=180"), SCENE[::-1, ::-1]) > 38
    assert psnr(jpeg_pixels(source, "usr/a.png", "turn=90"), np.rot90(SCENE)) > 38


def test_pictures_inside_of_other_files_are_taken_out():
    jpeg = encoded(SCENE)
    assert take_source(b"abc" + jpeg + b"def", photograph(f"a.edj!bytes@3+{len(jpeg)}")) == jpeg
    raw = bz2.compress(SCENE.tobytes())
    assert psnr(jpeg_pixels(raw, "face.dat!bz2raw@400x600x3"), SCENE) > 38
    inner = photograph("a.rcc!gallery/pictures/slope.webp")
    resource = (GOLDEN / "qt_resource" / "version3.rcc").read_bytes()
    assert Image.open(io.BytesIO(make_jpeg(take_source(resource, inner), inner))).size == (24, 16)


# -------------------------------------------------------------------------------------------------------- all of them


@dataclasses.dataclass
class Gallery:
    server: object
    debs: Path
    packages: list[Package]
    photographs: list[Photograph]

    @property
    def requests(self) -> list[str]:
        return [path for path, _ in self.server.requests]


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("debs")
    jpeg = encoded(SCENE, quality=90)
    resource = (GOLDEN / "qt_resource" / "version3.rcc").read_bytes()
    first_package = {"usr/share/a.jpg": jpeg, "usr/share/b.rcc": resource, "usr/share/unwanted.txt": bytes(5000)}
    other_package = {"usr/share/c.pzl": b"puzzle" + jpeg}
    make_package(folder / "one_1.0_all.deb", first_package)
    make_package(folder / "two_2.0+x_all.deb", other_package)
    paths = [
        ("train/0001_a.jpg", "one", "usr/share/a.jpg", ""),
        ("val/0002_slope.jpg", "one", "usr/share/b.rcc!gallery/pictures/slope.webp", ""),
        ("train/0003_c.jpg", "two", f"usr/share/c.pzl!bytes@6+{len(jpeg)}", "crop=0,0,300,200"),
    ]
    photographs = []
    for file, package, path, edit in paths:
        entry = photograph(path, edit, file=file, package=package, license="CC0-1.0", author="Ö, and others")
        source = take_source({**first_package, **other_package}[entry.member], entry)
        result = make_jpeg(source, entry)
        width, height = Image.open(io.BytesIO(result)).size
        digests = [hashlib.sha256(content).hexdigest() for content in (source, result)]
        photographs.append(
            dataclasses.replace(entry, width=width, height=height, source_sha256=digests[0], sha256=digests[1])
        )
    packages = []
    for name, version in (("one", "1.0"), ("two", "2:2.0+x")):
        path = folder / f"{name}_{version.rpartition(':')[2]}_all.deb"
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        packages.append(Package(name, version, f"debian/pool/{path.name}", "20260101T000000Z", len(content), sha256))
    return folder, packages, photographs


@pytest.fixture(scope="module")
def running():
    with serve() as server:
        yield server


@pytest.fixture
def gallery(contents, running, monkeypatch):
    folder, packages, photographs = contents
    running.files = {f"/{package.pool}": (folder / package.file).read_bytes() for package in packages}
    running.requests, running.breaks = [], []
    monkeypatch.setattr(photograph_list, "POOLS", f"{running.address}/")
    monkeypatch.setattr(photograph_list, "SNAPSHOTS", f"{running.address}/snapshots/")
    monkeypatch.setattr(photograph_list, "read_packages", lambda: packages)
    monkeypatch.setattr(photograph_list, "read_photographs", lambda: photographs)
    return Gallery(running, folder, packages, photographs)


def check(folder: Path, gallery: Gallery) -> None:
    for photograph in gallery.photographs:
        assert hashlib.sha256((folder / photograph.file).read_bytes()).hexdigest() == photograph.sha256
    assert {path.name for path in folder.iterdir()} == {"train", "val", "manifest.csv"}


def test_the_command_makes_the_folder_and_does_nothing_twice(gallery, tmp_path, capsys):
    folder = tmp_path / "photos"
    assert main(["prepare", "photographs", "--data-dir", str(folder)]) == ExitCode.FINISHED
    check(folder, gallery)
    assert gallery.requests == ["/debian/pool/one_1.0_all.deb", "/debian/pool/two_2.0+x_all.deb"]
    lines = capsys.readouterr().err.splitlines()
    total = in_words(sum(package.size for package in gallery.packages))
    assert f"{total} to download" in lines[0], "before anything is downloaded"
    assert "3 photographs, of which 3 are byte for byte those" in lines[-2]
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["license"], row["author"], row["version"]) for row in rows] == [
        ("train/0001_a.jpg", "CC0-1.0", "Ö, and others", "1.0"),
        ("val/0002_slope.jpg", "CC0-1.0", "Ö, and others", "1.0"),
        ("train/0003_c.jpg", "CC0-1.0", "Ö, and others", "2:2.0+x"),
    ]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    (folder / "train" / "mine.jpg").write_bytes(b"x")
    assert main(["prepare", "photographs", "--data-dir", str(folder)]) == ExitCode.FINISHED
    assert len(gallery.requests) == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "1 other files are there" in capsys.readouterr().err


def test_a_download_that_was_broken_off_goes_on(gallery, tmp_path):
    folder = tmp_path / "photos"
    second = gallery.packages[1]
    snapshot = f"snapshots/debian/20260101T000000Z/pool/{second.file}"
    gallery.server.breaks = [10**9, 100, 0]
    with pytest.raises(UserError, match=r"two_2\.0\+x_all\.deb cannot be downloaded"):
        make_photographs(folder, None, gallery.packages, gallery.photographs)
    assert (folder / "train" / "0001_a.jpg").exists(), "those of the first package are kept"
    assert gallery.server.requests[1:] == [(f"/{second.pool}", 0), (f"/{second.pool}", 100), (f"/{snapshot}", 100)]
    make_photographs(folder, None, gallery.packages, gallery.photographs)
    check(folder, gallery)
    assert gallery.server.requests[4:] == [(f"/{second.pool}", 100)]


def test_what_a_pool_has_forgotten_comes_from_the_snapshots(gallery, tmp_path):
    first = gallery.packages[0]
    snapshot = f"/snapshots/debian/20260101T000000Z/pool/{first.file}"
    gallery.server.files[snapshot] = gallery.server.files.pop(f"/{first.pool}")
    make_photographs(tmp_path / "photos", None, gallery.packages, gallery.photographs)
    check(tmp_path / "photos", gallery)
    assert snapshot in gallery.requests


def test_packages_of_a_folder_are_used_and_stay_there(gallery, tmp_path):
    source, folder = tmp_path / "given", tmp_path / "photos"
    source.mkdir()
    first = gallery.packages[0]
    shutil.copy(gallery.debs / first.file, source)
    assert main(["prepare", "photographs", "--data-dir", str(folder), "--manual-dir", str(source)]) == 0
    check(folder, gallery)
    assert gallery.requests == [f"/{gallery.packages[1].pool}"]
    assert (source / first.file).exists()


def test_another_version_in_the_folder_is_named(gallery, tmp_path, capsys):
    path = tmp_path / gallery.packages[0].file
    path.write_bytes(b"other")
    command = ["prepare", "photographs", "--data-dir", str(tmp_path / "photos"), "--manual-dir", str(tmp_path)]
    assert main(command) == ExitCode.BAD_INPUT
    assert f"{path} is not version 1.0 of the package" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["train/0003_c.jpg", "manifest.csv"])
def test_a_file_of_the_users_is_never_replaced(gallery, tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encoded(SCENE[:100]))
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"{name} is there and is another file"):
        make_photographs(tmp_path, None, gallery.packages, gallery.photographs)
    assert path.read_bytes() == before and gallery.requests == []


def test_too_little_room_is_said_before_anything_is_downloaded(gallery, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"1\.00 kB free"):
        make_photographs(tmp_path / "photos", None, gallery.packages, gallery.photographs)
    assert gallery.requests == []


# ---------------------------------------------------------------------------------------------------- the shipped list


def test_the_list_names_544_photographs_in_packages_of_debian():
    packages, photographs = read_packages(), read_photographs()
    assert Counter(photograph.file.partition("/")[0] for photograph in photographs) == {"train": 487, "val": 57}
    assert len({photograph.file for photograph in photographs}) == 544
    assert {photograph.package for photograph in photographs} == {package.package for package in packages}
    for photograph in photographs:
        assert re.fullmatch(r"(train|val)/\d{4}_[a-z0-9-]+\.jpg", photograph.file)
        assert (
            photograph.license
            and photograph.subject
            and ".." not in photograph.path
            and not photograph.path.startswith("/")
        )
        assert (
            re.fullmatch("[0-9a-f]{64}", photograph.source_sha256) and min(photograph.width, photograph.height) <= 512
        )
    for package in packages:
        assert re.fullmatch(r"debian(-security)?/pool/\S+\.deb", package.pool) and package.size > 0
        assert re.fullmatch("[0-9a-f]{64}", package.sha256) and re.fullmatch(r"\d{8}T\d{6}Z", package.snapshot)


def test_the_list_has_the_photographs_that_the_model_was_trained_on(photos):
    digests = {photograph.file: photograph.sha256 for photograph in read_photographs()}
    files = {path.relative_to(photos).as_posix(): path for path in photos.glob("*/*.jpg")}
    assert set(files) == set(digests)
    differences = [name for name in files if hashlib.sha256(files[name].read_bytes()).hexdigest() != digests[name]]
    assert differences == []


def test_the_model_card_counts_the_photographs_of_each_package():
    text = (ROOT / "docs" / "model.md").read_text()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("|")]
    table = {
        row[0]: (int(row[1] or 0), int(row[2] or 0)) for row in cells if len(row) == 4 and "".join(row[1:3]).isdigit()
    }
    counts = Counter((photograph.package, photograph.file.partition("/")[0]) for photograph in read_photographs())
    assert table == {name: (counts[name, "train"], counts[name, "val"]) for name, _ in counts}
