"""The folder of an evaluation: its numbers, its intervals, its table, and that it reads back as it was written."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from palgan_jax.errors import UserError
from palgan_jax.evaluation import results
from palgan_jax.evaluation.compare import compare
from palgan_jax.evaluation.protocols import PROTOCOLS
from palgan_jax.evaluation.record import summarize
from palgan_jax.evaluation.results import PICTURES, RESULTS, read_results, write_results
from palgan_jax.evaluation.table import NOTHING, PAPER, PUBLISHED, TABLE_COLUMNS, markdown
from tests.support.places import ROOT
from tests.support.small_evaluation import NASTY, evaluation, example


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "made"
    write_results(folder, evaluation(), example)
    return folder


def test_the_folder_holds_four_files_the_pictures_and_nothing_half_written(folder):
    files = {"results.json", "pictures.csv", "row.md", "report.html", "pictures"}
    assert {path.name for path in folder.iterdir()} == files


def test_results_hold_what_each_number_rests_on(folder):
    contents = json.loads((folder / RESULTS).read_text())
    assert set(contents) == {
        "system", "protocol", "protocol_exact", "list_sha256", "count", "resize", "palette", "metrics", "intervals",
        "absent", "weights", "facts",
    }  # fmt: skip
    assert list(contents["metrics"]) == [
        "psnr",
        "ssim",
        "fid",
        "ciede2000",
    ]  # the order of tables
    assert contents["metrics"]["fid"] == {"value": 12.25, "count": 12}
    assert set(contents["metrics"]["psnr"]) == {"mean", "low", "high", "sd", "median", "count"}
    assert contents["metrics"]["ssim"]["mean"] == pytest.approx(0.75)
    assert contents["metrics"]["psnr"]["mean"] == evaluation().values["psnr"].mean()
    assert contents["intervals"]["level"] == 0.95
    assert contents["absent"] == evaluation().absent
    assert contents["facts"] == {"seed": 0, "version": "1.2.3"}


def test_the_same_evaluation_gives_the_same_bytes(folder, tmp_path):
    write_results(tmp_path, evaluation(), example)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 4 + 2 * evaluation().count
    for path in files:
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("seed", [0, 1])
def test_intervals_are_those_of_scipy(seed):
    results = evaluation(400, seed)
    for name, values in results.values.items():
        entry = summarize(results)[name]
        expected = bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(5))
        width = expected.confidence_interval.high - expected.confidence_interval.low
        assert entry["low"] == pytest.approx(expected.confidence_interval.low, abs=0.06 * width)
        assert entry["high"] == pytest.approx(expected.confidence_interval.high, abs=0.06 * width)


# File names are bytes: anything but / and NUL, of which what is no UTF-8 becomes a lone surrogate.
NAMES = st.binary(min_size=1, max_size=30).map(lambda name: name.decode("utf-8", "surrogateescape"))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=1, max_size=5),
)
def test_pictures_read_back_as_they_were_whatever_they_are_called(tmp_path, values_by_name):
    names, values = list(values_by_name), np.array(list(values_by_name.values()))
    original = evaluation(len(names), names=names, values={"psnr": values}, whole={})
    (tmp_path / PICTURES).write_bytes(results._as_csv(original))
    (tmp_path / RESULTS).write_bytes(results._as_json(original, {}))
    read = read_results(tmp_path)
    assert read.names == names
    assert read.values["psnr"].tolist() == values.tolist()


def test_everything_reads_back(folder):
    read, original = read_results(folder), evaluation()
    for name in ("system", "protocol", "protocol_exact", "list_sha256", "count", "resize", "palette", "names", "whole"):
        assert getattr(read, name) == getattr(original, name)
    for name in ("absent", "weights", "facts"):
        assert getattr(read, name) == getattr(original, name)
    assert list(read.values) == ["psnr", "ssim", "ciede2000"]
    for name, values in read.values.items():
        np.testing.assert_array_equal(values, original.values[name])


def test_results_of_earlier_versions_are_read_under_the_names_of_today(tmp_path):
    values = {"colorfulness": np.array([30.0, 31.0]), "colorfulness_truth": np.array([40.0, 41.0])}
    absent = {"colorfulness_signed": "it was not asked for"}
    resize = "center crop of the short side, then 256 x 256"
    original = evaluation(2, values=values, absent=absent, whole={}, resize=resize)
    write_results(tmp_path, original, example)
    for name in (RESULTS, PICTURES):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text.replace("colorfulness", "colourfulness").replace("center", "centre"))
    read = read_results(tmp_path)
    assert set(read.values) == set(values) and read.absent == absent and read.resize == resize
    assert compare(read, original).metrics["colorfulness"].difference == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (RESULTS, None, "holds no results.json"),
        (PICTURES, None, "holds no pictures.csv"),
        (RESULTS, "{", "cannot be read"),
        (RESULTS, "[]", "cannot be read"),
        (PICTURES, "", "cannot be read"),
        (PICTURES, '"name","psnr"\n"a.jpg",1\n', "cannot be read"),
        (PICTURES, '"name","psnr"\n"a.jpg"\n', "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said(folder, tmp_path, name, content, message):
    for path in folder.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_results(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"values": {"psnr": np.array([1.0, math.nan])}},
        {"values": {"psnr": np.array([1.0])}},
        {"whole": {"fid": math.inf}},
        {"names": ["a", "a"]},
        {"names": ["a"]},
    ],
)
def test_an_evaluation_does_not_contradict_itself(changes):
    with pytest.raises(ValueError, match=r"finite|names"):
        evaluation(2, **changes)


def test_where_a_picture_cannot_be_shown_nothing_is_written(tmp_path):
    def broken(number):
        raise UserError("the picture is gone: bring it back.")

    with pytest.raises(UserError, match="gone"):
        write_results(tmp_path, evaluation(), broken)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="no folder"):
        write_results(tmp_path / "file" / "under", evaluation(), example)


def test_the_row_of_other_pictures_has_no_protocol_and_nothing_published_beside_it():
    exact, other = (
        evaluation(protocol="imagenet-ctest10k", protocol_exact=exact, palette="truth") for exact in (True, False)
    )
    text = markdown(other, summarize(other))
    assert text.count("| Wang") == 0
    assert "no protocol (the 12 pictures measured are not those of imagenet-ctest10k)" in text
    assert markdown(exact, summarize(exact)).count("| Wang") == len(PUBLISHED["imagenet-ctest10k"]) == 9


def test_the_row_is_as_it_is_in_the_papers():
    """Written by hand. Of two pictures, the interval reaches from one to the other."""
    results = evaluation(
        2,
        system="a|b <i>",
        palette="truth",
        values={"psnr": np.array([20.0, 21.25]), "lpips_vgg16": np.array([0.1, 0.3])},
        weights={"checkpoint": "cd" * 32},
        absent={"ssim": "it was not asked for", "lpips_alexnet": "no.", "bleeding": "it was not asked for"},
        whole={"delta_cf": 1.0, "fid": 2.345},
    )
    assert markdown(results, summarize(results)) == (
        "# a\\|b \\<i\\>, the truth's palette\n"
        "\n"
        "| system | PSNR | SSIM | LPIPS | FID | CF | delta CF | source |\n"
        "|---|---:|---:|---:|---:|---:|---:|---|\n"
        "| **a\\|b \\<i\\>, the truth's palette** | 20.62 | - | 0.200 (VGG16) | 2.35 | - | 1.00 "
        "| measured by palgan evaluate |\n"
        "\n"
        "| metric | value | 95 % interval of the mean |\n"
        "|---|---:|---:|\n"
        "| PSNR | 20.62 | 20.00 to 21.25 |\n"
        "| LPIPS (VGG16) | 0.200 | 0.100 to 0.300 |\n"
        "| FID | 2.35 | - |\n"
        "| delta CF | 1.00 | - |\n"
        "\n"
        "- Protocol: folder\n"
        f"- Pictures: 2, SHA-256 of their list {'ab' * 32}\n"
        "- Resize: squashed to 256 x 256\n"
        "- Palette: truth\n"
        "- No published rows of folder are known here.\n"
        f"- Weights of checkpoint: SHA-256 {'cd' * 32}\n"
        "- Measured by palgan\\_jax 1.2.3\n"
        "- Left out: SSIM, bleeding: it was not asked for\n"
        "- Left out: LPIPS (AlexNet): no.\n"
    )


def test_a_nasty_label_stays_in_its_cell():
    results = evaluation(system=NASTY + "\n| x |")
    text = markdown(results, summarize(results)).encode("utf-8", "strict").decode()
    (row,) = (line for line in text.splitlines() if "measured by palgan" in line)
    assert len(re.findall(r"(?<!\\)[|]", row)) == len(TABLE_COLUMNS) + 3


def published_in_the_paper():
    """(protocol, system) -> cells, of the table of docs/method.md."""
    text = (ROOT / "docs" / "method.md").read_text()
    table = text.partition("| PSNR / SSIM / LPIPS / FID |")[2].partition("\n\n")[0].splitlines()[2:]
    for line in table:
        system, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        for protocol, cell in zip(("imagenet-ctest10k", "imagenet-val50k", "coco-val2017"), cells, strict=True):
            if cell != "-":
                yield protocol, system, [float(number) for number in cell.split("/")]


def test_the_papers_rows_are_those_of_its_tables():
    names = {
        "Ours 1 (= the default)": "PalGAN",
        "Ours 2 (more weight on fidelity)": "PalGAN 2, more weight on fidelity",
        "Ours * (ground-truth palette)": "PalGAN *, the truth's palette",
        "Deoldify": "DeOldify",
        "ColTrans": "ColTran",
    }
    paper = {(p, names.get(system, system)): cells for p, system, cells in published_in_the_paper()}
    # What the paper calls "w rand ref" stands among its ablations.
    paper["coco-val2017", "PalGAN, a random picture's palette"] = [20.88, 0.883, 0.240, 9.64]
    lines_of_results = {
        (protocol, line.system): [float(cell) for cell in line.cells if cell != NOTHING]
        for protocol, lines in PUBLISHED.items()
        for line in lines
        if line.source == PAPER
    }
    assert lines_of_results == paper
    assert set(PUBLISHED) <= set(PROTOCOLS)
    assert all(len(line.cells) == len(TABLE_COLUMNS) for lines in PUBLISHED.values() for line in lines)
