import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palgan_jax.data import index as index_lib
from palgan_jax.data.folder import list_pictures
from palgan_jax.data.index import colour_range
from palgan_jax.data.source import open_source
from palgan_jax.errors import UserError


def save(path: Path, colours: np.ndarray | None = None, size: tuple[int, int] = (48, 32), **options) -> Path:
    """A picture whose colours run smoothly between the few given ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if colours is None:
        colours = np.random.default_rng(len(str(path.name))).integers(0, 256, (2, 3, 3))
    Image.fromarray(colours.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """Six usable pictures, three nearly gray ones, four unreadable files, and things that aren't pictures."""
    root = tmp_path / "pictures"
    for name in ("b.jpg", "a.PNG", "deep/er/c.webp", "deep/d.tiff", "z.bmp"):
        save(root / name)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(root / "turned.jpeg", exif=exif)
    gray = np.full((2, 3, 3), 90) + np.arange(6).reshape(2, 3, 1) * 20
    save(root / "gray.jpg", gray)
    save(root / "tinted.png", gray + np.arange(6).reshape(2, 3, 1) * np.array([1, 0, 0]))
    Image.new("L", (40, 40), 7).save(root / "mode-l.png")
    (root / "empty.jpg").touch()
    (root / "cut.jpg").write_bytes((root / "b.jpg").read_bytes()[:300])
    (root / "words.png").write_text("hello " * 40)
    Image.new("RGB", (4, 400)).save(root / "thin.png")
    (root / "notes.txt").write_text("x")
    (root / "LICENSE").write_text("x")
    save(root / ".hidden.jpg")
    save(root / ".cache/e.jpg")
    return root


USED = ("a.PNG", "b.jpg", "deep/d.tiff", "deep/er/c.webp", "turned.jpeg", "z.bmp")
NEAR_GRAY = ("gray.jpg", "mode-l.png", "tinted.png")
UNREADABLE = ("cut.jpg", "empty.jpg", "thin.png", "words.png")


def complaint(*args, **options) -> str:
    with pytest.raises(UserError) as caught:
        open_source(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_listing_is_sorted_recursive_and_without_hidden_files(folder):
    listing = list_pictures(folder)
    assert listing.names == tuple(sorted((*USED, *NEAR_GRAY, *UNREADABLE)))
    assert listing.others == {".txt": 1, "": 1}
    assert listing.sizes == tuple((folder / name).stat().st_size for name in listing.names)


def test_links_in_circles_end_and_broken_links_are_named(folder):
    (folder / "deep" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "again").symlink_to(folder / "deep", target_is_directory=True)
    (folder / "lost.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "linked.jpg").symlink_to(folder / "b.jpg")
    listing = list_pictures(folder)
    assert set(listing.names) == {*USED, *NEAR_GRAY, *UNREADABLE, "linked.jpg"}
    assert [name for name, _ in listing.problems] == ["lost.jpg"]
    source = open_source(f"folder:{folder}")
    assert "lost.jpg" in dict(source.unreadable)
    assert source.counts["found"] == len(listing.names) + 1


def test_counts_names_and_report(folder, tmp_path):
    seen = []
    work = tmp_path / "work"
    source = open_source(f"folder:{folder}", cache_dir=work, progress=lambda *now: seen.append(now))
    assert source.names == USED and len(source) == 6
    assert source.counts == {"found": 13, "used": 6, "near_gray": 3, "unreadable": 4}
    assert source.summary() == f"folder:{folder}: 6 pictures (13 found, 3 next to gray, 4 unreadable)"
    assert seen == [(i, 13) for i in range(1, 14)]
    assert dict(source.unreadable).keys() == set(UNREADABLE)
    assert dict(source.unreadable)["empty.jpg"].startswith("is empty (0 bytes)")

    (report,) = work.glob("*.unreadable.txt")
    lines = report.read_text().splitlines()
    assert str(folder) in lines[0]
    assert [line.split("\t")[0] for line in lines[1:]] == sorted(UNREADABLE)
    assert all(re.search(r"\t\w+", line) for line in lines[1:])

    for name in UNREADABLE:
        (folder / name).unlink()
    assert open_source(str(folder), cache_dir=work).summary().endswith("6 pictures (9 found, 3 next to gray)")
    assert not list(work.glob("*.unreadable.txt"))


def test_sizes_are_of_the_upright_picture(folder):
    source = open_source(f"folder:{folder}")
    for i in range(len(source)):
        assert source.read(i).shape[1::-1] == tuple(source.sizes[i])
    assert tuple(source.sizes[USED.index("turned.jpeg")]) == (32, 48)


def test_near_gray_threshold(folder):
    assert len(open_source(str(folder), near_gray=0)) == 9
    assert "tinted.png" in open_source(str(folder), near_gray=0.5).names
    assert len(open_source(str(folder), near_gray=5)) == 6
    message = complaint(str(folder), near_gray=1000)
    assert "9 pictures (4 more cannot be read), all of them gray or next to gray" in message and "under 1000" in message


def test_colour_range_is_that_of_scikit_image():
    color = pytest.importorskip("skimage.color")
    rgb = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    ab = color.rgb2lab(rgb)[..., 1:]
    np.testing.assert_allclose(colour_range(rgb), ab.max(axis=(1, 2)) - ab.min(axis=(1, 2)), atol=2e-3)


def test_index_goes_on_over_more_than_one_device_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(index_lib, "_BATCH", 4)
    colours = np.random.default_rng(0).integers(0, 256, (11, 2, 3, 3))
    for i in range(11):
        save(tmp_path / f"{i:02}.png", colours[i])
    index = index_lib.build(list_pictures(tmp_path))
    for i in range(11):
        with Image.open(tmp_path / f"{i:02}.png") as picture:
            thumbnail = np.asarray(picture.resize((64, 64), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(index.range_ab[i], colour_range(thumbnail[None])[0], rtol=1e-6)


def test_index_is_kept_and_made_anew_when_a_file_changes(folder, tmp_path, monkeypatch):
    work = tmp_path / "work"
    first = open_source(str(folder), cache_dir=work)
    built = []
    build = index_lib.build
    monkeypatch.setattr(index_lib, "build", lambda *args: built.append(1) or build(*args))

    again = open_source(str(folder), cache_dir=work)
    assert not built and again.names == first.names and again.unreadable == first.unreadable
    assert np.array_equal(again.sizes, first.sizes)
    open_source(str(folder), cache_dir=work, near_gray=0)
    assert not built, "another threshold needs no new look at the pictures"

    stat = (folder / "gray.jpg").stat()
    os.utime(folder / "gray.jpg", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    open_source(str(folder), cache_dir=work)
    assert len(built) == 1
    save(folder / "new.jpg")
    assert "new.jpg" in open_source(str(folder), cache_dir=work).names
    assert len(built) == 2

    (file,) = work.glob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    assert len(open_source(str(folder), cache_dir=work)) == 7
    assert len(built) == 3
    assert sorted(path.suffix for path in work.iterdir()) == [".npz", ".txt"], "no temporary file stays behind"


def test_two_folders_of_one_name_share_a_cache_dir(tmp_path):
    for place, size in (("x", (20, 20)), ("y", (30, 30))):
        save(tmp_path / place / "photos" / "a.png", size=size)
    for _ in range(2):
        for place, side in (("x", 20), ("y", 30)):
            source = open_source(str(tmp_path / place / "photos"), cache_dir=tmp_path / "work")
            assert source.sizes.tolist() == [[side, side]]
    assert len(list((tmp_path / "work").glob("photos-*.npz"))) == 2


def test_folder_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no file" in complaint(str(tmp_path / "empty"))
    assert "there is no folder" in complaint(f"folder:{tmp_path / 'missing'}")
    assert "is not a known source" in complaint("tfds:nowhere")
    assert "needs the path" in complaint("folder:")
    assert "is not a known source" in complaint("")

    other = tmp_path / "other"
    other.mkdir()
    for i in range(10):
        (other / f"{i}.txt").touch()
    for i in range(2):
        (other / f"{i}.mov").touch()
    assert "holds 12 files, none of them a picture (.txt 10, .mov 2)" in complaint(str(other))
    assert "is a file where a folder" in complaint(str(other / "0.txt"))

    (other / "a.jpg").touch()
    (other / "b.jpg").write_text("no")
    message = complaint(str(other))
    assert "holds 2 picture files and none can be read: a.jpg is empty (0 bytes): get the file again." in message


def test_of_several_processes_only_the_first_writes(folder, tmp_path, monkeypatch):
    work = tmp_path / "work"
    monkeypatch.setattr("jax.process_index", lambda: 1)
    second = open_source(str(folder), cache_dir=work)
    assert not work.exists()
    monkeypatch.undo()
    first = open_source(str(folder), cache_dir=work)
    kept = {path.name: path.read_bytes() for path in work.iterdir()}
    assert len(kept) == 2 and first.names == second.names and first.unreadable == second.unreadable
    # It reads what the first has kept, and leaves it.
    monkeypatch.setattr("jax.process_index", lambda: 1)
    monkeypatch.setattr(index_lib, "build", lambda *_: pytest.fail("looked at every picture again"))
    assert open_source(str(folder), cache_dir=work).names == first.names
    assert {path.name: path.read_bytes() for path in work.iterdir()} == kept


def test_unwritable_cache(folder, tmp_path):
    (tmp_path / "file").touch()
    assert "is no folder that can be written to" in complaint(str(folder), cache_dir=tmp_path / "file" / "work")


def test_photographs(photos, tmp_path):
    source = open_source(f"folder:{photos / 'val'}", cache_dir=tmp_path)
    assert source.counts == {"found": 57, "used": 57, "near_gray": 0, "unreadable": 0}
    assert source.decoded_bytes(64) < source.decoded_bytes(None) == int(3 * source.sizes.prod(axis=1).sum())
