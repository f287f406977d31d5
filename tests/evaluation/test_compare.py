"""Two evaluations against each other: pairs, intervals, and what is refused."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import bootstrap

from palgan_jax.errors import UserError
from palgan_jax.evaluation import kept_pictures
from palgan_jax.evaluation.compare import as_text, compare, compare_folders
from palgan_jax.evaluation.comparison_page import write_comparison_page
from palgan_jax.evaluation.ranking import as_text as ranking_as_text
from palgan_jax.evaluation.ranking import rank, rank_folders
from palgan_jax.evaluation.results import write_results
from tests.support.small_evaluation import NASTY, evaluation, example


def better_by(gain, noise=0.1, count=300):
    """(A, B): A's PSNR is higher by `gain` on average, and its pictures come in another order."""
    second = evaluation(count)
    rng = np.random.default_rng(7)
    values = {
        "psnr": second.values["psnr"] + gain + noise * rng.normal(size=count),
        "ciede2000": second.values["ciede2000"] * 0.5,
        "ssim": second.values["ssim"].copy(),
        "colorfulness": np.full(count, 20.0),
    }
    order = rng.permutation(count)
    shuffled = {name: column[order] for name, column in values.items()}
    first = evaluation(count, system="A", names=[second.names[i] for i in order], values=shuffled, whole={"fid": 10.0})
    return first, second, values


def test_pictures_are_paired_by_name_and_intervals_are_those_of_scipy():
    first, second, values = better_by(0.05, noise=1.0)
    row = compare(first, second).metrics["psnr"]
    differences = values["psnr"] - second.values["psnr"]
    expected = bootstrap((differences,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(3))
    low, high = expected.confidence_interval
    assert row.difference == pytest.approx(differences.mean())
    assert (row.low, row.high) == pytest.approx((low, high), abs=0.06 * (high - low))
    assert row.first_better == (differences > 0).mean()
    # Side by side, the two means could not be told apart; unpaired, the interval would be several times as wide.
    assert high - low < 0.5 * 2 * 1.96 * second.values["psnr"].std() * np.sqrt(2 / 300)


def test_verdicts_go_the_way_of_each_metric():
    first, second, _ = better_by(0.5)
    comparison = compare(first, second)
    assert list(comparison.metrics) == ["psnr", "ssim", "fid", "ciede2000"]
    assert comparison.metrics["psnr"].verdict == comparison.metrics["ciede2000"].verdict == "A is better"
    assert comparison.metrics["ciede2000"].difference < 0
    assert comparison.metrics["ciede2000"].first_better == 1.0
    assert comparison.metrics["ssim"].verdict == "no clear difference"
    assert (comparison.metrics["ssim"].first_better, comparison.metrics["ssim"].ties) == (0.0, 1.0)
    assert (comparison.metrics["fid"].difference, comparison.metrics["fid"].low) == (-2.25, None)
    assert comparison.only_first == ["colorfulness"]
    swapped = compare(second, first)
    assert swapped.metrics["psnr"].verdict == swapped.metrics["ciede2000"].verdict == "B is better"
    assert swapped.metrics["psnr"].low == pytest.approx(-(comparison.metrics["psnr"].high or 0), abs=0.01)


def test_chance_alone_is_no_clear_difference():
    """Two systems that differ by nothing but noise: about 1 of 20 intervals leaves 0 out."""
    wrong = 0
    for seed in range(100):
        draws = np.random.default_rng(seed).normal(24, 3, (2, 40))
        first, second = (evaluation(40, values={"psnr": values}) for values in draws)
        wrong += compare(first, second, resamples=400).metrics["psnr"].verdict != "no clear difference"
    assert 1 <= wrong <= 13


def test_neither_direction_is_better_in_colorfulness():
    first, second = (evaluation(9, values={"colorfulness": np.linspace(20, 30, 9) + shift}) for shift in (0, 5))
    row = compare(first, second).metrics["colorfulness"]
    assert (row.verdict, row.first_better) == ("a clear difference", None)


def test_the_table_and_the_file_say_the_same(tmp_path):
    first, second, _ = better_by(0.5, count=30)
    for name, results in (("a", first), ("b", second)):
        write_results(tmp_path / name, results, example)
    comparison = compare_folders(tmp_path / "a", tmp_path / "b", tmp_path / "compared.json")
    lines = as_text(comparison).splitlines()
    entry = json.loads((tmp_path / "compared.json").read_text())["metrics"]["psnr"]
    (row,) = (line for line in lines if line.startswith("PSNR"))
    numbers = [f"{entry['first']:.2f}", f"{entry['second']:.2f}", f"{entry['difference']:+.2f}"]
    assert row.split()[1:4] == numbers
    assert f"{entry['low']:+.2f} to {entry['high']:+.2f}" in row
    assert row.endswith("A is better")
    assert "Measured of A alone: CF." in lines
    assert not any(line != line.rstrip() for line in lines)


def test_the_same_files_in_other_folders_are_the_same_pictures():
    names = [f"val/{i:03d}.jpg" for i in range(12)]
    assert compare(evaluation(), evaluation(names=names)).metrics["psnr"].difference == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"list_sha256": "00" * 32}, "different pictures"),
        ({"names": [f"{i:03d}.png" for i in range(12)]}, r"different pictures \(A alone has 000.jpg, 001.jpg"),
        ({"protocol": "coco-val2017"}, "the protocol of A is folder and that of B coco-val2017"),
        ({"protocol_exact": False}, "the protocol of A is folder and that of B folder, without"),
        ({"resize": "center crop"}, "the resize of A is squashed to 256 x 256 and that of B center crop"),
        ({"weights": {"inception": "00" * 32}}, "different weights of inception"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        compare(evaluation(), evaluation(**changes))


def test_other_photographs_under_the_same_names_are_refused():
    first, second = (evaluation(3, values={"colorfulness_truth": np.array([1.0, 2.0, last])}) for last in (3.0, 3.1))
    assert list(compare(first, first).metrics) == ["fid"]  # the truth is no difference
    with pytest.raises(UserError, match=r"different photographs under the same names \(002.jpg\)"):
        compare(first, second)


def test_other_numbers_of_pictures_are_refused():
    with pytest.raises(UserError, match="the number of pictures of A is 12 and that of B 13"):
        compare(evaluation(12), evaluation(13))


def test_systems_may_have_other_weights():
    first, second = (evaluation(weights={"checkpoint": digest}) for digest in ("a", "b"))
    assert compare(first, second).metrics["psnr"].difference == 0


def test_several_systems_are_ranked_each_against_the_best(tmp_path):
    best, middle, _ = better_by(0.5, count=40)
    values = {"psnr": middle.values["psnr"] - 3.0, "ssim": middle.values["ssim"]}
    worst = evaluation(40, system="last\x1b[31m", values=values)
    for name, results in (("worst", worst), ("best", best), ("middle", middle)):
        write_results(tmp_path / name, results, example)
    folders = [tmp_path / name for name in ("worst", "middle", "best")]
    ranking = rank_folders(folders, tmp_path / "ranking.json")
    assert ranking.metric == "psnr" and ranking.systems == ["A", middle.system, worst.system]
    content = json.loads((tmp_path / "ranking.json").read_text())
    means = [summary["psnr"]["mean"] for summary in content["summaries"]]
    assert means == sorted(means, reverse=True)
    rows = [line.split("  ") for line in ranking_as_text(ranking).splitlines() if line[:2] in ("1 ", "2 ", "3 ")]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert [row[0] for row in cells] == ["1 A", f"2 {middle.system}", "3 last\\x1b[31m", *(f"{i} {name}" for i, name in
        ((2, middle.system), (3, "last\\x1b[31m")))]  # fmt: skip
    psnr = [content["summaries"][i]["psnr"] for i in range(3)]
    assert cells[0][1] == f"{psnr[0]['mean']:.2f} [{psnr[0]['low']:.2f}, {psnr[0]['high']:.2f}]"
    assert cells[4][1] == f"{psnr[2]['mean'] - psnr[0]['mean']:+.2f} *"
    assert cells[3][2] == "+0.000", "the same values are no clear difference"
    assert cells[2][-1] == "-", "what was not measured of it"


def test_systems_of_other_pictures_or_metrics_are_not_ranked():
    with pytest.raises(UserError, match="the number of pictures of A is 12 and that of B 13"):
        rank([evaluation(12), evaluation(12), evaluation(13)])
    first, second = (evaluation(3, values={name: np.ones(3)}, whole={}) for name in ("psnr", "ssim"))
    with pytest.raises(UserError, match="no metric in common"):
        rank([first, first, second])


def test_the_page_shows_the_same_photograph_by_each_system_whatever_their_order(tmp_path):
    first, second, _ = better_by(3.0, noise=2.0, count=6)
    second = replace(second, system=NASTY)
    for name, results in (("second", second), ("first", first)):
        numbers = [int(picture.split(".")[0]) for picture in results.names]
        write_results(tmp_path / name, results, lambda i, numbers=numbers: example(numbers[i]))
    write_comparison_page([tmp_path / "second", tmp_path / "first"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script src" not in page, "it fetches nothing"
    cards = page.split('<figure class="card comparison">')[1:]
    assert len(cards) == 6
    leads = {name: float(x) for name, x in zip(first.names, first.values["psnr"], strict=True)}
    leads = {name: leads[name] - float(x) for name, x in zip(second.names, second.values["psnr"], strict=True)}
    names = [re.findall(r"<h3>(.*?)</h3>", card)[0] for card in cards]
    by_gain = sorted(leads, key=lambda name: -leads[name])
    assert names == [*by_gain[:3], *by_gain[:2:-1]]
    for name, card in zip(names, cards, strict=True):
        pictures = re.findall(r'src="(data:image/jpeg;base64,[^"]+)"', card)
        assert len(pictures) == 4 and pictures[2] == pictures[3], "gray, truth, and both systems painted the same here"
        with Image.open(io.BytesIO(base64.b64decode(pictures[1].split(",")[1]))) as truth:
            difference = np.asarray(truth, int) - example(int(name[:3])).truth
        assert np.abs(difference).mean() < 4, "the photograph of that name"


def test_of_many_photographs_no_pictures_are_kept_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_pictures, "MOST_KEPT", 5)
    for name in ("a", "b"):
        write_results(tmp_path / name, evaluation(6, system=name), example)
        assert not (tmp_path / name / kept_pictures.FOLDER).exists()
    write_comparison_page([tmp_path / "a", tmp_path / "b"], tmp_path / "page.html")
    assert "photographs or fewer" in (tmp_path / "page.html").read_text()
