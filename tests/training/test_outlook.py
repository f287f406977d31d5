"""What is said before a long run, and of a validation."""

import pytest

from palgan_jax.config import apply_overrides, check_config, default_config
from palgan_jax.training import outlook as module
from palgan_jax.training.outlook import SMALLER, STEPS, Outlook, outlook
from palgan_jax.training.validation_table import validation_table


def test_a_long_run_is_told_in_words_and_a_cpu_gets_a_proposal_that_works():
    assert outlook(0.5, 100, "cpu") is None
    assert outlook(3.4, 99_999, "cpu") == (
        "a step takes 3.4 s here, so that the other 99,999 take about 3.9 days; on a CPU, begin with a smaller model "
        f"and smaller pictures: {SMALLER}"
    )
    assert outlook(0.1, 100_000, "gpu") == "a step takes 0.1 s here, so that the other 100,000 take about 2.8 hours"
    assert outlook(30, 40, "gpu").endswith("20 minutes")
    config = default_config()
    apply_overrides(config, [field.removeprefix("--config.") for field in SMALLER.split()])
    check_config(config)


def test_the_steps_after_the_first_are_timed_and_said_once(monkeypatch):
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    timer, sentences = Outlook(10, 1000, "gpu"), []
    for step, now in [(10, 0.0), (11, 200.0), (12, 202.0), (11 + STEPS, 206.0), (20, 220.0)]:  # noqa: B007
        sentences.append(timer.after(step))
    assert sentences == [None, None, None, outlook(2.0, 1000 - 11 - STEPS, "gpu"), None]


MEASURED = {
    "val/psnr": 22.236, "val/psnr_gray": 20.14, "val/psnr_mean_ab": 20.25, "val/psnr_mean_palette": 20.3,
    "val/psnr_median_palette": 20.2, "val/psnr_truth_palette": 24.43, "val/colorfulness": 27.2,
    "val/colorfulness_truth": 47.7, "val/colorfulness_truth_palette": 29.9, "val/ssim": 0.9,
}  # fmt: skip


@pytest.mark.parametrize("best", [None, (4000, {"val/psnr": 22.5, "val/ssim": None})])
def test_a_validation_is_a_table_with_its_rivals_beside(best):
    head, *rows = validation_table(5000, MEASURED, best).split("\n")
    assert head.startswith("step 5,000") and ("best, 4,000" in head) == (best is not None)
    psnr, ssim, colors = (row.split() for row in rows)
    assert psnr == ["PSNR,", "higher", "is", "better", "22.24", *(["22.50"] * bool(best)), "20.14", "20.25", "20.30",
        "24.43"]  # fmt: skip
    assert ssim == ["SSIM,", "higher", "is", "better", "0.900"]
    assert colors == ["CF,", "47.70", "in", "truth", "27.20", "29.90"]
