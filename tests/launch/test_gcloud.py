"""The launchers on Google Cloud with the real gcloud, which asks a server on this machine."""

import re
import shlex
import subprocess

import pytest

from tests.support.google_cloud_server import google_cloud
from tests.support.launch_tools import find, needs, takes_minutes
from tests.support.launch_world import LAUNCH, NEEDED, World

pytestmark = [needs("gcloud"), takes_minutes]
PLACE = "/v2/projects/colors/locations/us-west4-a"
SCOPE = ["https://www.googleapis.com/auth/cloud-platform"]
SSH = """while [[ $1 != *@127.0.0.* ]]; do shift || exit 0; done  # `ssh -V` names no machine
home=$HERE/worker$((${1##*.} - 1)); shift; [[ ${1:-} != -- ]] || shift
cd "$home" && HOME=$home exec bash -c "$*"
"""
SCP = """to=${@: -1:1} host=${to%%:*}
cp "${@: -2:1}" "$HERE/worker$((${host##*.} - 1))/${to#*:}"
"""


@pytest.fixture
def google(cloud: World):
    """A world whose gcloud is the real one; what it sends through ssh is run in the machines' folders."""
    with google_cloud() as (server, variables):
        (cloud.bin / "gcloud").unlink()
        (cloud.bin / "gcloud").symlink_to(find("gcloud"))
        token = cloud.folder / "token"
        token.write_text("secret\n")
        cloud.variables |= variables | {
            "CLOUDSDK_CONFIG": str(cloud.folder / "gcloud"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
        }
        cloud.program("ssh", SSH)
        cloud.program("scp", SCP)
        yield cloud, server


def gcloud(world: World, line: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        shlex.split(line), env=world.variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )


def test_gcloud_takes_each_command_and_asks_for_what_is_meant(google):
    world, server = google
    dry_run = world.launch("tpu_vm.sh", "--dry-run").stdout + world.launch("queued_resource.sh", "--dry-run").stdout
    lines = dict.fromkeys(line for line in dry_run.splitlines() if line.startswith("gcloud"))
    kinds = {kind: [line for line in lines if f" {kind} " in line] for kind in ("create", "ssh", "scp", "describe")}
    (vm, queued), shells = kinds["create"], [f"{line} --dry-run" for line in (*kinds["ssh"], *kinds["scp"])]
    failures = [gcloud(world, line) for line in kinds["describe"]]
    assert all(processes.returncode == 1 and "NOT_FOUND" in processes.stderr for processes in failures), (
        "what lib.sh looks for"
    )
    process_of_vm = gcloud(world, vm)
    assert process_of_vm.returncode == 0, process_of_vm.stderr
    processes = [gcloud(world, line) for line in shells]
    assert all(process.returncode == 0 for process in processes), "\n".join(process.stderr for process in processes)
    for line, process in zip(shells, processes, strict=True):
        assert process.stdout.count("127.0.0.2") == ("--worker=all" in line)
    state = gcloud(world, next(line for line in kinds["describe"] if "tpu-vm" in line))
    assert state.stdout == "READY\n"
    assert gcloud(world, queued).returncode == 0
    state = gcloud(world, next(line for line in kinds["describe"] if "queued" in line))
    assert state.stdout == "ACTIVE\n"
    (delete,) = [line for line in lines if " delete " in line]
    assert gcloud(world, delete).returncode == 0 and server.resources == {"nodes": {}, "queuedResources": {}}

    bodies = {path: body for method, path, body in server.requests if method == "POST"}
    node, resource = bodies[f"{PLACE}/nodes"], bodies[f"{PLACE}/queuedResources"]
    expected = {
        "acceleratorType": "v5litepod-16",
        "runtimeVersion": "v2-alpha-tpuv5-lite",
        "serviceAccount": {"scope": SCOPE},
    }
    assert expected.items() <= node.items() and node["schedulingConfig"]["spot"] is True
    (spec,) = resource["tpu"]["nodeSpec"]
    assert expected.items() <= spec["node"].items() and spec["nodeId"] == "palgan" and resource["spot"] == {}


def test_gcloud_takes_the_commands_of_the_documents(google):
    world, _ = google
    # Those of `gcloud storage` wait for a network first.
    lines = re.findall(r"^gcloud (?!storage).*", (LAUNCH / "README.md").read_text(), re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        # It names all that it does not know, on the same line where that is one thing, and does nothing then.
        process = gcloud(world, f"{line} --no-such-thing")
        assert process.returncode == 2 and "unrecognized arguments: --no-such-thing" in process.stderr, process.stderr


@pytest.mark.parametrize(("ends", "code"), [(["stopped", "stopped", "finished"], 0), (["refused"], 2)])
def test_a_training_goes_through_gcloud_from_nothing_to_its_end(google, ends, code):
    world, server = google
    world.lines("training", *ends)
    more = "--config.data.train=folder:it's a b"
    process = subprocess.run(
        ["bash", str(LAUNCH / "queued_resource.sh"), "--", more],
        env=world.variables | NEEDED["queued_resource.sh"], capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert process.returncode == code, process.stderr
    trainings = [call for call in world.calls if call[0] == "python"]
    assert len(trainings) >= 2 and all(call[-1] == more for call in trainings), "quoted for each shell on the way"
    assert (world.folder / "worker1/palgan_jax/launch/worker.sh").exists()
    assert server.resources == {"nodes": {}, "queuedResources": {}}, "nothing costs on"
