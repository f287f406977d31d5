"""The launchers on Kubernetes: by xpk, and by a JobSet of our own."""

import jsonschema
import pytest
import yaml

from tests.support.launch_schemas import checked
from tests.support.launch_world import World

REFUSED = "Failed FailJobSetFailurePolicyAction"
"""The condition of a JobSet that ended by its rule for exit code 2."""


@pytest.mark.parametrize(
    ("verdict", "condition", "code"),
    [(0, "Completed", 0), (125, "Failed ReachedMaxRestarts", 1), (125, REFUSED, 2), (124, "", 124), (1, "", 1)],
)
def test_xpk_is_told_to_begin_again_and_its_verdict_is_the_launchers(world, verdict, condition, code):
    world.program("xpk", f"[[ $2 != list ]] || exit {verdict}")
    world.program("kubectl", KUBERNETES)
    world.lines("conditions", condition)
    assert world.launch("xpk.sh").returncode == code
    create, wait = world.calls[:2]
    assert create[:3] == ["xpk", "workload", "create"] and "--wait-for-job-completion=palgan" in wait
    assert {"--max-restarts=50", "--num-slices=1", "--tpu-type=v5litepod-16", "--storage=palgan"} <= set(create)
    assert {"--workload=palgan", "--cluster=tpus", "--docker-image=registry/palgan:1"} <= set(create)


def test_xpk_is_given_the_bucket_and_what_to_delete(world):
    assert world.launch("xpk.sh", "--attach").returncode == world.launch("xpk.sh", "--delete").returncode == 0
    attach, delete = world.calls
    assert {"attach", "--bucket=pictures", "--mount-point=/mnt/palgan", "--readonly=false"} <= set(attach)
    assert delete[1:4] == ["workload", "delete", "--workload=palgan"]


KUBERNETES = """case "$1" in
  get)
    state=$(next "$HERE/conditions")
    if [[ $state != absent ]]; then [[ $* != *"{.metadata.name} "* ]] || printf 'palgan '; echo "$state"; fi ;;
  apply) cat >> "$HERE/applied" ;;
esac
"""


@pytest.mark.parametrize(
    ("conditions", "code", "verbs"),
    [
        (["absent", "", "StartupPolicyCompleted", "StartupPolicyCompleted Completed"], 0, ["apply"]),
        (["Failed", "", "Failed ReachedMaxRestarts"], 1, ["delete", "apply"]),  # of another day, then of this
        ([REFUSED, "", REFUSED], 2, ["delete", "apply"]),
        (["Completed", "", "Completed"], 0, ["delete", "apply"]),
        (["Suspended", "Suspended", "", "Completed"], 0, ["apply"]),  # still there: followed
        (["absent", "", "absent"], 1, ["apply"]),  # deleted from elsewhere
    ],
)
def test_a_jobset_is_applied_and_followed_until_it_ends(world, conditions, code, verbs):
    world.program("kubectl", KUBERNETES)
    world.lines("conditions", *conditions)
    result = world.launch("gke_jobset.sh")
    assert result.returncode == code, result.stderr
    assert [call[1] for call in world.calls if call[1] != "get"] == verbs
    rendered = world.launch("gke_jobset.sh", "--render").stdout
    assert (world.folder / "applied").read_text() == rendered


def jobset(world: World, **variables: str) -> dict:
    text = world.launch("gke_jobset.sh", "--render", **variables).stdout
    assert "${" not in text
    return yaml.safe_load(text)


@pytest.mark.parametrize(
    ("topology", "chips", "hosts"), [("4x4", "4", 4), ("2x4", "8", 1), ("2x2x4", "4", 4), ("16x16", "4", 64)]
)
def test_the_jobset_is_one_by_its_schema(world, topology, chips, hosts):
    values = {"PALGAN_GKE_TOPOLOGY": topology, "PALGAN_GKE_CHIPS_PER_HOST": chips, "PALGAN_ATTEMPTS": "7"}
    document = jobset(world, **values)
    checked(document, "jobset")
    job = document["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["parallelism"] == job["completions"] == hosts and job["backoffLimit"] == 0
    assert document["spec"]["failurePolicy"]["maxRestarts"] == 7
    pod = job["template"]["spec"]
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == topology
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": int(chips)}
    assert job["template"]["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"
    assert pod["volumes"][0]["csi"]["volumeAttributes"]["bucketName"] == "pictures"


def test_the_schema_of_the_jobset_refuses_what_is_misspelled(world):
    for path, value in [
        (("spec", "failurePolicy", "maxRestart"), 3),
        (("spec", "failurePolicy", "maxRestarts"), "3"),
        (("spec", "replicatedJobs", 0, "template", "spec", "podFailurePolicy", "rules", 0, "action"), "Fail"),
        (("spec", "replicatedJobs", 0, "template", "spec", "template", "spec", "containers", 0, "cmd"), []),
        (("spec", "replicatedJobs", 0, "template", "spec", "template", "spec", "volumes", 0, "csi", "bucket"), "b"),
    ]:
        document = place = jobset(world)
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            checked(document, "jobset")


@pytest.mark.parametrize("values", [{"PALGAN_GKE_TOPOLOGY": "big"}, {"PALGAN_GKE_TOPOLOGY": "3x3"}])
def test_slices_that_cannot_be_are_refused(world, values):
    result = world.launch("gke_jobset.sh", **values)
    assert result.returncode == 2 and result.stderr.startswith("launch: ") and world.calls == []
