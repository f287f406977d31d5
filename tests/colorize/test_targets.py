"""Where the results of `palgan colorize` go: nothing of anybody is replaced, and nothing is made twice."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from palgan_jax.colorize.inputs import Source
from palgan_jax.colorize.record import RECORD_FILE, Entry, Records
from palgan_jax.colorize.targets import Names, plan, versions
from palgan_jax.errors import UserError
from palgan_jax.util.files import file_sha256
from tests.support.places import COMPILATION_CACHE, ROOT


@pytest.fixture
def picture(tmp_path):
    """Makes a small picture of a number, which decides its content."""

    def make(name: str, number: int = 0, **options) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)).save(path, **options)
        return path

    return make


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def pictures(folder: Path) -> list[str]:
    return [name for name in contents(folder) if not name.endswith(RECORD_FILE)]


# ---------------------------------------------------------------------------------------------------- nothing is lost


def test_a_file_of_somebody_is_kept_and_the_result_numbered(palgan, picture, tmp_path):
    source, foreign = picture("work/scan001.jpg"), picture("work/scan001.png", 1)
    before = foreign.read_bytes()
    code, out, err = palgan(source, output=tmp_path / "work")
    assert (code, err) == (0, [])
    assert foreign.read_bytes() == before
    assert pictures(tmp_path / "work") == ["scan001-2.png", "scan001.jpg", "scan001.png"]
    assert f"{foreign} exists already and is kept (--overwrite replaces it)." in out


def test_two_runs_with_pictures_of_one_name_leave_two_pictures(palgan, picture, tmp_path):
    for number in range(2):
        assert palgan(picture(f"{number}/scan001.jpg", number))[0] == 0
    assert pictures(tmp_path / "out") == ["scan001-2.png", "scan001.png"]


def test_overwrite_replaces_what_is_there_but_no_picture_that_was_named(palgan, picture, tmp_path):
    source, foreign = picture("work/a.jpg"), picture("work/a.png", 1)
    before = foreign.read_bytes()
    assert palgan(source, output=tmp_path / "work", options=["--overwrite"])[0] == 0
    assert foreign.read_bytes() != before and pictures(tmp_path / "work") == ["a.jpg", "a.png"]
    named_picture = picture("own/b.png", 2)
    before = named_picture.read_bytes()
    code, out, _ = palgan(named_picture, output=tmp_path / "own", options=["--overwrite"])
    assert code == 0 and "is kept" not in out
    assert named_picture.read_bytes() == before and pictures(tmp_path / "own") == ["b-2.png", "b.png"]


def test_overwrite_replaces_the_own_result_and_not_the_one_of_the_plain_name(palgan, picture, tmp_path):
    first, second = picture("a/x.jpg", 0), picture("b/x.jpg", 1)
    palgan(first)
    palgan(second)
    before = contents(tmp_path / "out")
    assert palgan(second, options=["--overwrite"])[0] == 0
    after = contents(tmp_path / "out")
    assert pictures(tmp_path / "out") == ["x-2.png", "x.png"] and after["x.png"] == before["x.png"]


def test_a_name_that_another_program_used_is_numbered_on(tmp_path):
    names = Names(keep=[])
    assert [names.take(tmp_path / "x.png").name for _ in range(2)] == ["x.png", "x-2.png"]
    (tmp_path / "x-2.png").touch()
    assert names.take_another(tmp_path / "x-2.png").name == "x-3.png"


def test_commands_at_the_same_time_do_not_meet(checkpoint, picture, tmp_path):
    command = [sys.executable, "-m", "palgan_jax.cli", "colorize", "--output", str(tmp_path / "out")]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(COMPILATION_CACHE)}
    processes = [
        subprocess.Popen(
            [*command, "--checkpoint", str(checkpoint), str(picture(f"{number}/x.jpg", number))],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL,
        )
        for number in range(3)
    ]  # fmt: skip
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert pictures(tmp_path / "out") == ["x-2.png", "x-3.png", "x.png"]
    assert len(Records().of(tmp_path / "out")) == 3


# ------------------------------------------------------------------------------------------- nothing is made twice


def test_a_second_run_makes_nothing_and_says_so(palgan, picture, tmp_path):
    sources = [picture("a/x.jpg", 0), picture("b/x.jpg", 1), picture("c.png", 2)]
    palgan(*sources)
    before = contents(tmp_path / "out")
    code, out, err = palgan(*reversed(sources))  # the order decides nothing
    assert (code, err) == (0, []) and contents(tmp_path / "out") == before
    assert f"{sources[1]} is done already: {tmp_path / 'out' / 'x-2.png'}" in out
    (tmp_path / "out" / "x.png").unlink()
    assert palgan(*sources)[0] == 0
    assert pictures(tmp_path / "out") == [name for name in before if name != RECORD_FILE]


def test_other_settings_or_another_content_are_made_anew(palgan, picture, samples, tmp_path):
    source = picture("x.jpg", 0)
    palgan(source)
    palgan(source, options=["--reference", samples / "dog.jpg"])
    assert pictures(tmp_path / "out") == ["x-2.png", "x.png"]
    palgan(picture("x.jpg", 1))
    assert pictures(tmp_path / "out") == ["x-2.png", "x-3.png", "x.png"]
    palgan(source, options=["--reference", samples / "dog.jpg"])
    assert len(pictures(tmp_path / "out")) == 4


@pytest.mark.parametrize("words", [["."], ["*.jpg", "*.png"]])
def test_results_are_never_taken_for_photographs(palgan, picture, tmp_path, monkeypatch, words):
    picture("work/a.jpg", 0), picture("work/b.png", 1)
    monkeypatch.chdir(tmp_path / "work")
    for _ in range(3):
        code, out, err = palgan(*words, output=".")
        assert (code, err) == (0, [])
        assert pictures(tmp_path / "work") == ["a.jpg", "a.png", "b-2.png", "b.png"]
    assert "left aside" in out
    Path(RECORD_FILE).unlink()  # results say themselves what they are
    palgan(*words, output="../other")
    assert pictures(tmp_path / "other") == ["a.png", "b.png"]


def test_a_result_without_its_mark_is_known_by_the_record(palgan, picture, tmp_path):
    source = picture("work/a.jpg")
    palgan(source, output=tmp_path / "work")
    result = tmp_path / "work" / "a.png"
    Image.open(result).save(result)
    Records().add(result.parent, Entry("a.png", str(source), 1, "", "", result.stat().st_size, file_sha256(result)))
    code, _, err = palgan(result, output=tmp_path / "other")
    assert code == 2 and not (tmp_path / "other").exists()
    assert len(err) == 1 and "was made by palgan colorize" in err[0]


# ---------------------------------------------------------------------------------------------------- the record


JUNK = [b"", b"\n", b"{", b"[" * 100_000, b"null\n", b"[]\n", b'{"result": 1}\n', b"\xff\xfe\x00", b"1" * 50_000]


@pytest.mark.parametrize("junk", range(len(JUNK)))
def test_a_damaged_record_loses_its_damaged_lines_alone(tmp_path, junk):
    entries = [Entry(f"b-\udce9-{i}.png", "/a\n", i, "x", "y", 1, "z") for i in range(2)]
    Records().add(tmp_path, entries[0])
    path = tmp_path / RECORD_FILE
    path.write_bytes(path.read_bytes() + JUNK[junk] + b"\n")
    Records().add(tmp_path, entries[1])
    assert list(Records().of(tmp_path).values()) == entries


def test_half_a_line_costs_itself_alone(tmp_path):
    entries = [Entry(f"{i}.png", "/a", i, "x", "y", 1, "z") for i in range(3)]
    Records().add(tmp_path, entries[0])
    Records().add(tmp_path, entries[1])
    path = tmp_path / RECORD_FILE
    path.write_bytes(path.read_bytes()[:-20])
    Records().add(tmp_path, entries[2])
    assert list(Records().of(tmp_path).values()) == [entries[0], entries[2]]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_record_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / RECORD_FILE)
    assert not Records().of(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        Records().add(tmp_path, Entry("a.png", "/a", 1, "x", "y", 1, "z"))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits of files")
def test_a_line_that_only_half_fits_is_an_error_and_no_entry(tmp_path):
    import resource

    entries = [Entry(f"{name}.png", "/a", 1, "x", "y", 1, "z") for name in "abc"]
    Records().add(tmp_path, entries[0])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / RECORD_FILE).stat().st_size + 40, limits[1]))
    try:
        with pytest.raises(UserError, match="No space left on device"):
            Records().add(tmp_path, entries[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    Records().add(tmp_path, entries[2])
    assert [*Records().of(tmp_path)] == ["a.png", "c.png"]


def test_a_line_of_the_wrong_types_is_no_entry(tmp_path):
    entry = {"result": "x", "source": "/a", "source_bytes": 1, "source_sha256": "", "settings": "", "result_bytes": 1}
    lines = [{**entry, "result_sha256": 5}, {**entry, "source_bytes": True, "result_sha256": ""}, entry]
    (tmp_path / RECORD_FILE).write_text("\n".join(map(json.dumps, lines)))
    assert not Records().of(tmp_path)


def test_a_record_may_be_a_folder_or_missing(tmp_path):
    assert not Records().of(tmp_path / "absent")
    (tmp_path / RECORD_FILE).mkdir()
    assert not Records().of(tmp_path)


# ------------------------------------------------------------------------------------------- properties of the names


NAME = st.sampled_from(["x.jpg", "X.JPG", "x.png", "x-2.png", "é.tif", ".hidden", "a.b.jpg", "y/x.jpg", "y/x.png"])


@settings(max_examples=60, deadline=None)
@given(
    sources=st.lists(NAME, unique=True, min_size=1), others=st.lists(NAME), rounds=st.integers(1, 3),
    overwrite=st.booleans(), inside=st.booleans(),
)  # fmt: skip
def test_whatever_the_names_no_file_meets_another(tmp_path_factory, sources, others, rounds, overwrite, inside):
    folder = tmp_path_factory.mktemp("names")
    try:
        output = folder if inside else folder / "out"
        for name in [f"out/{name}" for name in others] + sources:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"theirs: {name}")
        pairs = [Source(folder / name, Path(name)) for name in sources]
        foreign = contents(folder)
        for number in range(rounds):
            records = Records()
            names = Names([pair.path for pair in pairs], replace_existing=overwrite)
            jobs = plan(pairs, output, "png", versions(0), lambda *_: "s", names, records, overwrite)
            targets = [job.target for job in jobs]
            assert len({str(target).casefold() for target in targets}) == len(pairs)
            assert not {str(target).casefold() for target in targets} & {str(p.path).casefold() for p in pairs}
            assert all(target.parent == output / pair.place.parent for target, pair in zip(targets, pairs, strict=True))
            assert overwrite or all(job.is_done == target.exists() for job, target in zip(jobs, targets, strict=True))
            assert overwrite or all(job.is_done for job in jobs) == (number > 0)
            for job, target in zip(jobs, targets, strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(f"ours: {job.source.place}")
                data = job.source.path.read_bytes()
                digest = file_sha256(job.source.path)
                records.add(target.parent, Entry(target.name, str(job.source.path), len(data), digest, "s", 1, ""))
        after = contents(folder)
        names_kept = set(sources) if overwrite else set(foreign)
        assert all(after[name] == foreign[name] for name in names_kept)
    finally:
        shutil.rmtree(folder)
