import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palgan_jax.data import jpeg
from palgan_jax.data.decode import read_rgb
from palgan_jax.data.folder import list_pictures
from palgan_jax.data.scan import color_statistics
from palgan_jax.data.source import Source, open_source
from palgan_jax.errors import UserError


def save(path: Path, colors: np.ndarray | None = None, size: tuple[int, int] = (48, 32), **options) -> Path:
    """A picture whose colors run smoothly between the few given ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if colors is None:
        colors = np.random.default_rng(len(str(path.name))).integers(0, 256, (2, 3, 3))
    Image.fromarray(colors.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC).save(path, **options)
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


def names(source: Source) -> tuple[str, ...]:
    return tuple(source.picture_name(i) for i in range(len(source)))


def open_any(spec: Path | str, **options) -> Source:
    """Opens a set as training does, however many pictures are unreadable."""
    return open_source(str(spec), **{"near_gray": 5, **options})


def complaint(*args, near_gray: float = 5, **options) -> str:
    with pytest.raises(UserError) as error:
        open_source(*args, near_gray=near_gray, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_listing_is_sorted_recursive_and_without_hidden_files(folder):
    listing = list_pictures(folder)
    assert listing.names == tuple(sorted((*USED, *NEAR_GRAY, *UNREADABLE)))
    assert listing.other_suffixes == {".txt": 1, "": 1}
    assert listing.file_bytes.tolist() == [(folder / name).stat().st_size for name in listing.names]


def test_links_in_circles_end_and_broken_links_are_named(folder):
    (folder / "deep" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "again").symlink_to(folder / "deep", target_is_directory=True)
    (folder / "lost.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "linked.jpg").symlink_to(folder / "b.jpg")
    listing = list_pictures(folder)
    assert set(listing.names) == {*USED, *NEAR_GRAY, *UNREADABLE, "linked.jpg"}
    assert [name for name, _ in listing.problems] == ["lost.jpg"]
    source = open_any(f"folder:{folder}")
    assert "lost.jpg" in dict(source.unreadable)
    assert source.counts["found"] == len(listing.names) + 1


def test_counts_names_and_report(folder, tmp_path):
    calls = []
    work = tmp_path / "work"
    source = open_any(f"folder:{folder}", cache_dir=work, progress=lambda *now: calls.append(now))
    assert names(source) == USED and len(source) == 6
    assert source.counts == {"found": 13, "used": 6, "near_gray": 3, "unreadable": 4}
    assert source.summary() == f"folder:{folder}: 6 pictures (13 found, 3 next to gray, 4 unreadable)"
    assert calls == [(i, 13) for i in range(1, 14)]
    assert dict(source.unreadable).keys() == set(UNREADABLE)
    assert dict(source.unreadable)["empty.jpg"].startswith("is empty (0 bytes)")

    (report,) = work.glob("*.unreadable.txt")
    lines = report.read_text().splitlines()
    assert str(folder) in lines[0] and source.report == report
    assert [line.split("\t")[0] for line in lines[1:]] == sorted(UNREADABLE)
    assert all(re.search(r"\t\w+", line) for line in lines[1:])

    for name in UNREADABLE:
        (folder / name).unlink()
    assert open_any(folder, cache_dir=work).summary().endswith("6 pictures (9 found, 3 next to gray)")
    assert not list(work.glob("*.unreadable.txt"))


def test_sizes_are_of_the_upright_picture(folder):
    source = open_any(f"folder:{folder}")
    for i in range(len(source)):
        assert source.read(i).shape[1::-1] == tuple(source.sizes[i])
    assert tuple(source.sizes[USED.index("turned.jpeg")]) == (32, 48)


def test_near_gray_threshold(folder):
    assert len(open_any(folder, near_gray=0)) == 9
    assert "tinted.png" in names(open_any(folder, near_gray=0.5))
    assert len(open_any(folder, near_gray=5)) == 6
    message = complaint(str(folder), near_gray=1000)
    assert "9 pictures (4 more cannot be read), all of them gray or next to gray" in message and "under 1000" in message


def test_folder_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no file" in complaint(str(tmp_path / "empty"))
    assert "there is no folder" in complaint(f"folder:{tmp_path / 'missing'}")
    assert "there is no folder ~no-such-user/photos" in complaint("folder:~no-such-user/photos")
    assert "there is no folder aaa" in complaint(f"folder:{'a' * 300}")
    assert "is not a known source" in complaint(f"a:{'a' * 300}")
    assert "cannot be read" in complaint(f"list:{'a' * 300}")
    assert "is not a known source" in complaint("http:nowhere")
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


def test_a_few_unreadable_pictures_are_left_out_and_many_stop_the_run(folder, tmp_path):
    report = r"and .*unreadable.txt lists them: remove them, or raise --config.data.max_unreadable\."
    message = complaint(str(folder), max_unreadable=0.01, cache_dir=tmp_path / "work")
    assert re.search(rf"^4 of 13 pictures of .* cannot be read, more than 1\.00%, {report}$", message)
    assert next((tmp_path / "work").glob("*.unreadable.txt")).read_text().count("\n") == 5
    assert "and the first is cut.jpg is cut short" in complaint(str(folder), max_unreadable=3.9 / 13)
    assert len(open_any(folder, max_unreadable=4 / 13)) == 6
    for name in UNREADABLE[1:]:
        (folder / name).unlink()
    assert open_source(str(folder), max_unreadable=0).counts["unreadable"] == 1, "one picture is always left out"


def test_file_bytes_and_identity_are_of_the_usable_pictures(folder, tmp_path):
    source = open_any(folder)
    assert source.file_bytes.tolist() == [(folder / name).stat().st_size for name in USED]
    assert source.file_bytes.dtype == np.int64 and source.sizes.dtype == np.int32
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    assert open_any(copy).identity() == source.identity()
    assert re.fullmatch("[0-9a-f]{16}", source.identity())
    assert open_any(folder, near_gray=0).identity() != source.identity()
    (copy / "b.jpg").rename(copy / "c.jpg")
    assert open_any(copy).identity() != source.identity()


def test_a_source_is_the_same_after_pickling(folder):
    for spec in (f"folder:{folder}", f"1 folder:{folder} + 2 synthetic:3"):
        source = open_any(spec)
        repeat = pickle.loads(pickle.dumps(source))
        assert names(repeat) == names(source) and repeat.identity() == source.identity()
        np.testing.assert_array_equal(repeat.read(len(source) - 1), source.read(len(source) - 1))


def write_list(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([*lines, ""]))
    return path


def test_a_list_keeps_its_order_and_counts_paths_from_its_folder(folder, tmp_path):
    file = write_list(
        folder.parent / "some.txt", "# mine", "", "pictures/z.bmp", "pictures/a.PNG", str(folder / "b.jpg")
    )
    source = open_source(f"list:{file}")
    assert names(source) == ("pictures/z.bmp", "pictures/a.PNG", str(folder / "b.jpg"))
    np.testing.assert_array_equal(source.read(1), read_rgb(folder / "a.PNG"))
    assert source.index_file == folder.parent / "some.txt.palgan-index.npz"
    assert source.summary() == f"list:{file}: 3 pictures"
    file.write_bytes(b"\xef\xbb\xbfpictures/z.bmp\r\npictures/a.PNG\r\n")
    assert names(open_source(f"list:{file}")) == ("pictures/z.bmp", "pictures/a.PNG")


def test_list_errors(folder):
    file = write_list(folder.parent / "some.txt", "pictures/b.jpg", "pictures/../pictures/b.jpg")
    assert "names pictures/../pictures/b.jpg a second time in line 2" in complaint(f"list:{file}")
    write_list(file, "pictures/b.jpg", "", "b.jpg")
    assert "names b.jpg in line 3, which is not there" in complaint(f"list:{file}")
    assert "names no picture" in complaint(f"list:{write_list(file, '# nothing')}")
    assert "there is no list" in complaint("list:nowhere.txt")
    assert "cannot be read" in complaint(f"list:{folder}")


def test_synthetic_pictures_are_smooth_colorful_and_always_the_same():
    source = open_source("synthetic:50")
    assert len(source) == 50 and len(open_source("synthetic")) == 10_000
    assert source.sizes.tolist()[:2] == [[512, 384], [384, 512]] and not source.file_bytes.any()
    for i in (0, 1, 49):
        rgb = source.read(i)
        assert rgb.shape[1::-1] == tuple(source.sizes[i])
        assert np.abs(np.diff(rgb.astype(int), axis=1)).max() < 8
        assert color_statistics(rgb)["range_ab"].sum() > 20
        np.testing.assert_array_equal(rgb, open_source("synthetic").read(i))
        assert min(source.read(i, at_least=100).shape[:2]) == 100
    assert source.decoded_bytes(100) >= sum(source.read(i, at_least=100).nbytes for i in range(50))
    assert (source.read(0) != source.read(2)).any()


def test_a_mixture_is_its_sources_one_after_another(folder):
    spec = f"3 folder:{folder} + 1 synthetic:4"
    source = open_any(spec)
    first, second = open_any(folder), open_source("synthetic:4")
    assert len(source) == 10
    assert source.parts == ((0, 6, 0.75), (6, 10, 0.25))
    assert source.sizes.tolist() == [*first.sizes.tolist(), *second.sizes.tolist()]
    assert source.file_bytes.tolist() == [*first.file_bytes.tolist(), 0, 0, 0, 0]
    assert source.counts == {"found": 17, "used": 10, "near_gray": 3, "unreadable": 4}
    assert source.decoded_bytes(64) == first.decoded_bytes(64) + second.decoded_bytes(64)
    assert source.picture_name(5) == f"folder:{folder}/z.bmp" and source.picture_name(6) == "synthetic:4/synthetic/0"
    for i, (part, row) in {0: (first, 0), 5: (first, 5), 6: (second, 0), 9: (second, 3)}.items():
        np.testing.assert_array_equal(source.read(i), part.read(row))
    with pytest.raises(IndexError):
        source.read(10)
    assert source.identity() != open_any(spec.replace("3 ", "2 ")).identity()
    assert source.summary() == f"10 pictures: 75.0% folder:{folder}: " + (
        "6 pictures (13 found, 3 next to gray, 4 unreadable) + 25.0% synthetic:4: 4 pictures made from their numbers"
    )


def test_the_identity_of_a_mixture_is_what_it_was_in_earlier_versions():
    assert open_source("0.7 synthetic:40 + 0.3 synthetic:7").identity() == "abf3d639b85b6f01"


def test_photographs(photos, tmp_path):
    files = sorted((photos / "val").glob("*.jpg"))
    source = open_source(f"list:{write_list(tmp_path / 'val.txt', *map(str, files))}")
    assert source.counts == {"found": 57, "used": 57, "near_gray": 0, "unreadable": 0}
    assert source.decoded_bytes(None) == int(3 * source.sizes.prod(axis=1).sum())
    sizes = [jpeg.decoded_size((int(w), int(h)), 64) for w, h in source.sizes]
    assert source.decoded_bytes(64) == sum(3 * w * h for w, h in sizes) < source.decoded_bytes(None)
