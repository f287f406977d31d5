"""The index of a set: what it says of a picture, where it is kept, and that no picture is looked at twice."""

import io
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palgan_jax.data import index as index_lib
from palgan_jax.data import scan
from palgan_jax.data.folder import Listing, list_pictures
from palgan_jax.data.index import ROW, load_or_build
from palgan_jax.data.scan import color_statistics
from palgan_jax.data.source import open_source
from palgan_jax.errors import UserError
from tests.support.places import ROOT

COUNT = 23


@pytest.fixture
def folder(tmp_path) -> Path:
    """23 small pictures, one of them damaged."""
    root = tmp_path / "pictures"
    root.mkdir()
    colors = np.random.default_rng(0).integers(0, 256, (COUNT, 2, 3, 3), np.uint8)
    for i in range(COUNT):
        Image.fromarray(colors[i]).resize((40 + i, 32), Image.Resampling.BICUBIC).save(root / f"{i:02}.png")
    (root / "07.png").write_bytes((root / "07.png").read_bytes()[:60])
    return root


@pytest.fixture
def looked_at(monkeypatch) -> list[str]:
    """The names of the pictures that are decoded from now on."""
    names = []
    decode = scan.decode_rgb

    def spy(data, *, name, at_least):
        names.append(Path(name).name)
        return decode(data, name=name, at_least=at_least)

    monkeypatch.setattr(scan, "decode_rgb", spy)
    return names


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(index_lib, "BLOCK", 4)


def test_statistics_are_those_of_scikit_image():
    color = pytest.importorskip("skimage.color")
    for seed in range(5):
        rgb = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
        ab = color.rgb2lab(rgb)[..., 1:]
        statistics = color_statistics(rgb)
        np.testing.assert_allclose(statistics["range_ab"], np.ptp(ab, axis=(0, 1)), atol=2e-3)
        red, green, blue = rgb.astype(np.float64).transpose(2, 0, 1)
        rg, yb = abs(red - green), abs((red + green) / 2 - blue)
        expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
        np.testing.assert_allclose(statistics["colorfulness"], expected, rtol=1e-5)


def test_a_row_says_what_is_in_the_file(folder):
    index = load_or_build(list_pictures(folder))
    assert len(index) == COUNT and list(index.unreadable) == [7]
    assert index.unreadable[7].startswith("is cut short or damaged")
    for i in set(range(COUNT)) - {7}:
        path = folder / f"{i:02}.png"
        with Image.open(path) as picture:
            thumbnail = np.asarray(picture.resize((64, 64), Image.Resampling.BILINEAR))
        row = index.rows[i]
        assert (row["width"], row["height"], row["file_bytes"]) == (40 + i, 32, path.stat().st_size)
        for name, value in color_statistics(thumbnail).items():
            np.testing.assert_allclose(row[name], value, rtol=1e-5)
    assert len(np.unique(index.rows["name"])) == COUNT


def test_the_index_lies_beside_the_pictures_and_is_taken_from_there(folder, looked_at):
    calls = []
    first = load_or_build(list_pictures(folder), progress=lambda *now: calls.append(now))
    assert calls == [(i, COUNT) for i in range(1, COUNT + 1)] and len(looked_at) == COUNT
    assert first.file == folder / ".palgan-index.npz"
    listing = list_pictures(folder)
    assert len(listing) == COUNT and not listing.other_suffixes, "the listing does not see it"
    repeat = load_or_build(listing, progress=lambda *_: pytest.fail("looked again"))
    np.testing.assert_array_equal(repeat.rows, first.rows)
    assert repeat.unreadable == first.unreadable and repeat.file == first.file
    folder.rename(folder.with_name("elsewhere"))
    load_or_build(list_pictures(folder.with_name("elsewhere")))
    assert len(looked_at) == COUNT, "a folder that moves takes its index along"


def test_only_what_has_changed_is_looked_at_again(folder, looked_at):
    before = load_or_build(list_pictures(folder))
    looked_at.clear()
    stat = (folder / "03.png").stat()
    os.utime(folder / "03.png", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    shutil.copyfile(folder / "05.png", folder / "new.png")
    shutil.copyfile(folder / "06.png", folder / "07.png")
    (folder / "11.png").unlink()
    calls = []
    after = load_or_build(list_pictures(folder), progress=lambda *now: calls.append(now))
    assert sorted(looked_at) == ["03.png", "07.png", "new.png"] and calls == [(1, 3), (2, 3), (3, 3)]
    assert len(after) == COUNT and not after.unreadable
    intact = [i for i in range(COUNT) if i not in (3, 7, 11)]
    np.testing.assert_array_equal(after.rows[[i - (i > 11) for i in intact]], before.rows[intact])
    assert after.rows["width"].tolist()[-1] == 45
    looked_at.clear()
    load_or_build(list_pictures(folder))
    assert not looked_at


def test_a_picture_that_cannot_be_reached_is_looked_at_again_the_next_time(folder, looked_at, monkeypatch):
    load = Listing.load

    def fail(listing: Listing, i: int) -> tuple[str, bytes]:
        if i in (9, 21):
            raise UserError(f"{listing.label(i)} cannot be read (input/output error): check the path.")
        return load(listing, i)

    monkeypatch.setattr(Listing, "load", fail)
    for _ in range(2):
        index = load_or_build(list_pictures(folder))
        assert list(index.unreadable) == [7, 9, 21]
        assert index.unreadable[9] == "cannot be read (input/output error): check the path"
    assert len(looked_at) == COUNT - 2
    monkeypatch.setattr(Listing, "load", load)
    index = load_or_build(list_pictures(folder))
    assert list(index.unreadable) == [7] and index.rows["width"].tolist()[9::12] == [49, 61]
    assert looked_at[COUNT - 2 :] == ["09.png", "21.png"] or looked_at[COUNT - 2 :] == ["21.png", "09.png"]


def with_byte(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:100],
        lambda _: b"",
        lambda data: data[:-200] + bytes(200),
        lambda data: with_byte(data, data.rfind(b"PK\1\2") + 8, 1),  # says that it is encrypted
        lambda data: with_byte(data, data.rfind(b"PK\1\2") + 10, 99),  # compressed in a way that there is not
    ],
)
def test_a_damaged_index_is_made_anew(folder, looked_at, damage):
    file = load_or_build(list_pictures(folder)).file
    content = file.read_bytes()
    file.write_bytes(damage(content))
    looked_at.clear()
    load_or_build(list_pictures(folder))
    assert len(looked_at) == COUNT and file.read_bytes() == content
    assert {path.suffix for path in folder.iterdir()} == {".png", ".npz"}, "no temporary file stays behind"


def test_of_an_index_with_a_wrong_byte_nothing_is_taken_that_is_not_so(folder):
    file = load_or_build(list_pictures(folder)).file
    content, stamps, random = file.read_bytes(), list_pictures(folder).stamps(), np.random.default_rng(0)
    right, taken_files = index_lib.KnownRows(stamps), []
    assert right.read(file)
    for at, change in zip(random.integers(0, len(content), 1500), random.integers(1, 256, 1500), strict=True):
        file.write_bytes(with_byte(content, at, content[at] ^ change))
        rows = index_lib.KnownRows(stamps)
        taken_files.append(rows.read(file))
        if taken_files[-1]:
            np.testing.assert_array_equal(rows.rows, right.rows)
            assert rows.reasons == right.reasons
    assert 0 < sum(taken_files) < 600, "some bytes mean nothing, such as those of dates"


def test_an_index_of_another_layout_is_made_anew(folder, looked_at):
    file = load_or_build(list_pictures(folder)).file
    with np.load(file) as content:
        fields = dict(content)
    for other in ({"version": np.array(1)}, {"rows": fields["rows"][["stamp", "width"]]}):
        buffer = io.BytesIO()
        np.savez(buffer, **{**fields, **other})
        file.write_bytes(buffer.getvalue())
        looked_at.clear()
        assert len(load_or_build(list_pictures(folder))) == COUNT
        assert len(looked_at) == COUNT


def test_an_interrupted_build_goes_on_with_the_next_block(folder, looked_at, small_blocks):
    def interrupt(done: int, _: int) -> None:
        if done == 14:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_or_build(list_pictures(folder), progress=interrupt)
    assert len(list((folder / ".palgan-index.parts").iterdir())) == 3
    looked_at.clear()
    shutil.copyfile(folder / "05.png", folder / "02.png")  # of a block that is finished
    calls = []
    index = load_or_build(list_pictures(folder), progress=lambda *now: calls.append(now))
    assert sorted(looked_at) == ["02.png", *(f"{i}.png" for i in range(12, COUNT))] and calls[0] == (1, COUNT - 11)
    assert index.rows["width"].tolist() == [0 if i == 7 else 45 if i == 2 else 40 + i for i in range(COUNT)]
    assert list(index.unreadable) == [7]
    assert {path.suffix for path in folder.iterdir()} == {".png", ".npz"}, "the blocks are gone"


def read_only(monkeypatch, folder: Path) -> None:
    """As for somebody without the right to write; the tests may be run by an administrator, who always has it."""
    touch = Path.touch

    def refuse(path: Path, *args, **options) -> None:
        if path.is_relative_to(folder):
            raise PermissionError(13, "Permission denied")
        touch(path, *args, **options)

    monkeypatch.setattr(Path, "touch", refuse)


def test_where_nothing_can_be_written_beside_the_pictures(folder, tmp_path, looked_at, monkeypatch):
    read_only(monkeypatch, folder)
    work = tmp_path / "work"
    index = load_or_build(list_pictures(folder), work)
    assert index.file is not None and index.file.parent == work and index.file.name.startswith("pictures-")
    assert not [path for path in folder.iterdir() if path.suffix != ".png"]
    assert load_or_build(list_pictures(folder), work).file == index.file
    assert len(looked_at) == COUNT

    other = tmp_path / "other" / "pictures"
    shutil.copytree(folder, other)
    read_only(monkeypatch, other)
    assert load_or_build(list_pictures(other), work).file != index.file, "two folders of one name share a work folder"
    looked_at.clear()
    assert load_or_build(list_pictures(folder)).file is None
    assert len(looked_at) == COUNT, "without a place it is not kept"


def test_where_a_folder_has_the_name_of_the_index(folder, tmp_path, looked_at):
    (folder / ".palgan-index.npz").mkdir()
    assert load_or_build(list_pictures(folder)).file is None
    index = load_or_build(list_pictures(folder), tmp_path / "work")
    assert index.file is not None and index.file.parent == tmp_path / "work"
    assert load_or_build(list_pictures(folder), tmp_path / "work").file == index.file
    assert len(looked_at) == 2 * COUNT


def test_a_report_that_cannot_be_written(folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"is no folder that can be written to"):
        open_source(str(folder), cache_dir=tmp_path / "file" / "work", max_unreadable=1)


def test_rows_stay_small():
    assert ROW.itemsize <= 64, "of 1.28 million pictures, 80 MB"


# ---------------------------------------------------------------- several processes

CHILD = """
import sys
from pathlib import Path
import jax
process, count, port, output, *folders = sys.argv[1:]
jax.distributed.initialize(f"127.0.0.1:{port}", int(count), int(process))
from palgan_jax.data import index
from palgan_jax.data.folder import list_pictures
from palgan_jax.data.source import open_source
from palgan_jax.errors import UserError
index.BLOCK = 4
scanned = []
scan_picture = index.scan_picture
index.scan_picture = lambda pictures, i: scanned.append(i) or scan_picture(pictures, i)
for number, folder in enumerate(folders):
    scanned.clear()
    try:
        built = index.load_or_build(list_pictures(folder))
        Path(f"{output}{number}").write_bytes(built.rows.tobytes() + repr(built.unreadable).encode())
        print("result:", sorted(scanned))
    except UserError as error:
        print("result:", error)
try:  # where only the first process writes, and cannot
    open_source(folders[0], cache_dir=f"{output}0/below-a-file")
except UserError as error:
    print("result:", error)
jax.distributed.shutdown()
"""


def run_two(output: Path, *folders: list[Path]) -> list[list[str]]:
    """Opens folders one after another in two processes that join each other, each its own: what each prints.

    Each writes what it gets to OUTPUT, its number and the number of the call.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    flags = " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(i), "2", port, f"{output}{i}", *map(str, folders[i])],
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for i in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=600) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs
    return [[line.partition("result: ")[2] for line in out.splitlines() if "result: " in line] for out, _ in outputs]


def test_two_processes_look_at_half_of_the_pictures_each_and_get_the_same(folder, tmp_path):
    index = load_or_build(list_pictures(folder))
    assert index.file is not None
    expected, content = index.rows.tobytes() + repr(index.unreadable).encode(), index.file.read_bytes()
    index.file.unlink()
    # Copies, as on disks that are not shared: their times differ, and in one of them a picture is missing.
    names = ("copy", "shorter", "free", "nowhere", "built", "stuck")
    copies = [shutil.copytree(folder, tmp_path / name, copy_function=shutil.copyfile) for name in names]
    copy, shorter, free, unwritable, built, locked = copies
    (shorter / "20.png").unlink()
    (unwritable / ".palgan-index.npz").mkdir()  # this process cannot keep anything
    (locked / ".palgan-index.parts").touch()  # and this one not the blocks that it has finished

    of_first = [folder, folder, folder, free, unwritable, built, locked]
    outputs = run_two(tmp_path / "got", of_first, [folder, copy, shorter, unwritable, free, locked, built])
    assert (tmp_path / "got00").read_bytes() == (tmp_path / "got10").read_bytes() == expected
    halves = [str([i for i in range(COUNT) if i // 4 % 2 == p]) for p in range(2)]
    assert [first for first, *_ in outputs] == halves
    assert index.file.read_bytes() == content and not (folder / ".palgan-index.parts").exists()
    assert [second for _, second, *_ in outputs] == ["[]", "[]"], "the first has an index, which the other gets"
    assert (tmp_path / "got01").read_bytes() == expected and not (copy / index.file.name).exists()
    for place, (_, _, rows, *_) in zip((folder, shorter), outputs, strict=True):
        assert rows.startswith(f"the processes do not see the same pictures in {place}: give all of them the same")
    assert (free / index.file.name).is_file(), "the first can keep it, whether the other can or not"
    # Then the places are changed: what the second has kept does not count, and all is looked at again.
    assert [row[3:5] for row in outputs] == [[half, half] for half in halves]
    for process in range(2):
        for number in (3, 4):
            result = np.frombuffer((tmp_path / f"got{process}{number}").read_bytes()[: index.rows.nbytes], ROW)
            np.testing.assert_array_equal(result["width"], index.rows["width"])
    for row in outputs:
        for sentence in row[5:7]:
            assert sentence.startswith(f"{locked}/.palgan-index.parts is no folder that can be written to")
        assert row[7].startswith(f"{tmp_path / 'got00' / 'below-a-file'} is no folder that can be written to")
