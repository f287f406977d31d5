"""The launcher on SLURM, with programs that stand for its own."""

import re

import pytest

from tests.support.launch_world import LAUNCH


def test_a_slurm_job_is_queued_again_until_it_has_finished(slurm):
    slurm.lines("training", "stopped", "crashed", "finished")
    result = slurm.launch("slurm.sh", PALGAN_NODES="2", PALGAN_PARTITION="gpu")
    assert result.returncode == 0, result.stderr
    submit = slurm.calls[0]
    assert {"--nodes=2", "--ntasks-per-node=8", "--gpus-per-node=8", "--partition=gpu"} <= set(submit)
    assert not any(word.startswith("--account") for word in submit)
    assert [call[1:] for call in slurm.calls if call[0] == "scontrol"] == [["requeue", "7"]] * 2
    trainings = [call for call in slurm.calls if call[0] == "python"]
    assert len(trainings) == 3 and all(call == trainings[0] for call in trainings)
    assert f"{slurm.folder}/runs/palgan" in trainings[0]
    assert "finished after 3 turn(s)" in result.stdout


@pytest.mark.parametrize(("end", "code", "turns"), [("refused", 2, 1), ("stopped", 75, 3)])
def test_a_slurm_job_gives_up(slurm, end, code, turns):
    slurm.lines("training", end)
    result = slurm.launch("slurm.sh", PALGAN_ATTEMPTS="2")
    assert result.returncode == code and slurm.count("python") == turns
    assert slurm.count("scontrol") == turns - 1


def test_a_slurm_job_asks_for_sigterm_before_its_time_is_up(slurm):
    options = re.findall(r"^#SBATCH (\S+)$", (LAUNCH / "slurm.sbatch").read_text(), re.MULTILINE)
    assert {"--requeue", "--signal=TERM@120"} <= set(options)
    result = slurm.launch("slurm.sh", PALGAN_MOUNT="/nowhere/at/all")
    assert result.returncode == 2 and "PALGAN_MOUNT=/nowhere/at/all is no folder here" in result.stderr
