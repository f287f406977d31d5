"""The launcher on queued resources, with a cloud that takes TPUs away."""

import pytest

from tests.support.launch_world import CLOUD, World


def queue_calls(world: World) -> list[str]:
    calls = [call[4] for call in world.calls if call[:4] == ["gcloud", "compute", "tpus", "queued-resources"]]
    return [name for name in calls if name != "describe"]


def test_a_queued_resource_is_made_anew_until_the_training_has_finished(cloud):
    """Stopped once with the TPUs still there, then preempted in the middle, then finished."""
    before = ["NOT_FOUND", "ACCEPTED", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]
    cloud.lines("queue", *before, "ACTIVE", "SUSPENDING", "SUSPENDED", "DELETING", *before)
    cloud.lines("training", "stopped", "stopped", "crashed", "crashed", "finished", "finished")
    result = cloud.launch("queued_resource.sh", "--", "--config.batch_size=256", PALGAN_VALID_UNTIL="6h")
    assert result.returncode == 0, result.stderr
    assert queue_calls(cloud) == ["create", "delete", "create", "delete"]
    create = next(call for call in cloud.calls if "create" in call)
    assert {"--node-id=palgan", "--spot", "--valid-until-duration=6h"} <= set(create)
    assert "--runtime-version=v2-alpha-tpuv5-lite" in create and "--accelerator-type=v5litepod-16" in create
    assert "attempt 1 of 50 ended with 75" in result.stderr and "attempt 2 of 50 ended with 1" in result.stderr
    assert "finished after 3 attempt(s)" in result.stderr
    trainings = [call for call in cloud.calls if call[0] == "python"]
    # Two machines, three attempts; where one ends, the other may be stopped before it has begun. The same --workdir.
    assert 3 <= len(trainings) <= 6 and all(call == trainings[0] for call in trainings)
    assert not cloud.count("gcloud", "tpu-vm", "create")


def test_attempts_come_to_an_end(cloud):
    cloud.lines("queue", "ACTIVE")
    cloud.lines("training", "crashed")
    result = cloud.launch("queued_resource.sh", PALGAN_ATTEMPTS="3")
    assert result.returncode == 1 and "gave up after 3 attempts" in result.stderr
    assert 3 <= cloud.count("python") <= 6 and queue_calls(cloud) == ["delete"]


def test_tpus_that_are_refused_count_as_attempts(cloud):
    cloud.lines("queue", "FAILED", "NOT_FOUND", "FAILED", "NOT_FOUND", "FAILED")
    result = cloud.launch("queued_resource.sh", PALGAN_ATTEMPTS="3", PALGAN_SPOT="false")
    assert result.returncode == 1
    assert queue_calls(cloud) == ["delete", "create", "delete", "create", "delete", "delete"]
    assert not cloud.count("gcloud", "--spot") and not cloud.count("python")


def test_bad_input_is_not_tried_again(cloud):
    cloud.lines("queue", "ACTIVE")
    cloud.lines("training", "refused")
    result = cloud.launch("queued_resource.sh")
    assert result.returncode == 2 and "palgan: error: that is no config." in result.stderr
    assert cloud.count("python") == 2 and queue_calls(cloud) == ["delete"]


def test_machines_that_cannot_be_made_ready_are_no_bad_input(cloud):
    """uv ends with 2 where the network fails, as the training does for bad input."""
    cloud.program("uv", '[[ $1 != pip || -e $HERE/network ]] || { touch "$HERE/network"; exit 2; }')
    cloud.lines("queue", "ACTIVE")
    cloud.lines("training", "finished")
    result = cloud.launch("queued_resource.sh")
    assert result.returncode == 0 and "attempt 1 of 50 ended with 1" in result.stderr
    assert "were not made ready" in result.stderr and cloud.count("python") == 2


def test_nothing_is_made_or_deleted_while_the_cloud_does_not_answer(cloud):
    cloud.lines("queue", "UNAVAILABLE")
    result = cloud.launch("queued_resource.sh", PALGAN_ATTEMPTS="3")
    assert result.returncode == 2 and "UNAVAILABLE" in result.stderr and queue_calls(cloud) == []
    assert "it costs until --delete." in result.stderr
    cloud.lines("queue", "UNAVAILABLE", "UNAVAILABLE", "ACTIVE")
    cloud.lines("training", "finished")
    assert cloud.launch("queued_resource.sh", PALGAN_ATTEMPTS="3").returncode == 0
    assert queue_calls(cloud) == ["delete"]


def test_a_resource_that_cannot_be_queued_ends_the_launcher(cloud):
    cloud.lines("queue", "NOT_FOUND")
    cloud.program("gcloud", 'if [[ "$*" == *create* ]]; then echo INVALID_ARGUMENT >&2; exit 1; fi\n' + CLOUD)
    result = cloud.launch("queued_resource.sh")
    assert result.returncode == 2 and "gcloud refused to queue palgan" in result.stderr
    assert queue_calls(cloud) == ["create"]


def test_a_resource_that_is_refused_once_it_had_been_there_is_asked_for_again(cloud):
    refusal = '{ echo >> "$HERE/refused"; echo UNAVAILABLE >&2; exit 1; }'
    first = 'if [[ "$*" == *create* ]]; then [[ -e $HERE/refused ]] || ' + refusal + "; fi\n"
    cloud.program("gcloud", first + CLOUD)
    cloud.lines("queue", "SUSPENDED", "NOT_FOUND", "NOT_FOUND", "ACTIVE")
    cloud.lines("training", "finished")
    result = cloud.launch("queued_resource.sh")
    assert result.returncode == 0 and "attempt 1 of 50 ended with 1" in result.stderr
    assert queue_calls(cloud) == ["delete", "create", "create", "delete"]


@pytest.mark.parametrize(
    ("end", "code", "said"), [("finished", 0, "finished"), ("refused", 2, "refused"), ("crashed", 1, "gave up")]
)
def test_a_resource_that_is_left_over_is_told(cloud, end, code, said):
    cloud.program("gcloud", 'if [[ "$*" == *delete* ]]; then exit 1; fi\n' + CLOUD)
    cloud.lines("queue", "ACTIVE")
    cloud.lines("training", end)
    result = cloud.launch("queued_resource.sh", PALGAN_ATTEMPTS="1")
    assert result.returncode == code and said in result.stderr.splitlines()[-1]
    assert "palgan was not deleted and costs on: launch/queued_resource.sh --delete." in result.stderr
