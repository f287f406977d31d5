"""The launcher of JobSets with the real kubectl, which asks a server on this machine."""

import pytest

from tests.support.kubernetes_server import kubernetes
from tests.support.launch_schemas import checked
from tests.support.launch_tools import find, needs
from tests.support.launch_world import World

pytestmark = needs("kubectl")


@pytest.mark.parametrize(
    ("kind", "reason", "code"),
    [
        ("Completed", "AllJobsCompleted", 0),
        ("Failed", "ReachedMaxRestarts", 1),
        ("Failed", "FailJobSetFailurePolicyAction", 2),
    ],
)
def test_kubectl_applies_the_jobset_and_says_how_it_ended(world: World, kind, reason, code):
    with kubernetes(world.folder) as (cluster, variables):
        (world.bin / "kubectl").unlink()
        (world.bin / "kubectl").symlink_to(find("kubectl"))
        world.variables |= variables
        started = {"type": "StartupPolicyCompleted", "status": "True", "reason": "StartupPolicyCompleted"}
        other = {"type": "Failed" if kind == "Completed" else "Completed", "status": "False", "reason": "none"}
        cluster.conditions = [started, other, {"type": kind, "status": "True", "reason": reason}]
        process = world.launch("gke_jobset.sh")
        assert process.returncode == code, process.stderr
        (applied,) = cluster.applied
        applied = {name: value for name, value in applied.items() if name != "status"}
        del applied["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
        checked(applied, "jobset")
        assert world.launch("gke_jobset.sh").returncode == code and len(cluster.applied) == 2, "the old one made room"
        assert world.launch("gke_jobset.sh", "--delete").returncode == 0 and not cluster.resources
        assert world.launch("gke_jobset.sh", "--delete").returncode == 0, "where there is none"
