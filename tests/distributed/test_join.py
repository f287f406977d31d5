"""Several processes: who is one of them, the roll at the start, and one end for all. Whole runs are in test_train."""

import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from jax._src import cloud_tpu_init

from palgan_jax.cli import main
from palgan_jax.distributed.join import Place, find_place
from palgan_jax.distributed.watchdog import Peer, judge, numbers
from palgan_jax.errors import UserError
from tests.support.places import ROOT

TELLING = re.compile(r"JAX_(COORDINATOR|NUM|PROCESS)|SLURM_|OMPI_|TPU_|MEGASCALE|KUBERNETES|GCE_|PALGAN_JOIN")

PROCESS = """
import os, signal, sys, time
from palgan_jax.distributed import join as processes
from palgan_jax.errors import UserError

address, number, count, what = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
processes.SILENCE = 3
try:
    beside = processes.Companion(processes.Place(address, number, count))
except UserError as error:
    sys.exit(f"palgan: error: {error}")
try:
    if what == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "crashes":
        raise ValueError("boom")
    if what == "fails":
        raise UserError("there is no folder x: name another.")
    if what == "loses its companion":
        beside._process.kill()
    if what == "falls silent":
        os.kill(beside._process.pid, signal.SIGSTOP)
        time.sleep(4)
        os.kill(beside._process.pid, signal.SIGKILL)
    if what != "is through":
        time.sleep(60)
except BaseException as error:
    beside.fail(error)
else:
    beside.finish()
"""


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def start(address: str, what: dict[int, str], count: int, **variables: str) -> dict[int, subprocess.Popen]:
    return {
        number: subprocess.Popen(
            [sys.executable, "-S", "-c", PROCESS, address, str(number), str(count), action],
            env={**os.environ, **variables}, cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )
        for number, action in what.items()
    }  # fmt: skip


def end(processes: dict[int, subprocess.Popen]) -> dict[int, tuple[int, str]]:
    """Exit code and what was written, by number."""
    written = {number: process.communicate(timeout=30)[1] for number, process in processes.items()}
    return {number: (process.returncode, written[number]) for number, process in processes.items()}


def test_those_who_wait_long_for_the_last_are_not_taken_for_dead():
    address = free_address()
    early = start(address, {0: "is through"}, 2)
    time.sleep(3.5)  # more than the silence that is allowed later
    done = end(early | start(address, {1: "is through"}, 2))
    assert done == {0: (0, ""), 1: (0, "")}


def test_a_process_that_loses_its_companion_says_so():
    done = end(start(free_address(), {0: "waits", 1: "loses its companion"}, 2))
    assert done[1][0] == 1 and "the process that connects this one with the others is gone" in done[1][1]
    assert done[0][0] == 1 and "process 1 of 2" in done[0][1]


@pytest.mark.parametrize("first", [0, 2], ids=["the first", "another"])
def test_where_one_is_killed_the_others_end_at_once_and_name_it(first):
    processes = start(free_address(), {n: "is killed" if n == first else "waits" for n in range(3)}, 3)
    began = time.monotonic()
    ended = end(processes)
    assert time.monotonic() - began < 10
    assert ended.pop(first)[0] == -signal.SIGKILL
    for code, written in ended.values():
        pid = processes[first].pid
        assert code == 1 and written.count("palgan: error: ") == 1
        assert f"process {first} of 3 (host {socket.gethostname()}, pid {pid}) is gone" in written


TOGETHER = [
    # What two processes do, their exit codes, and what the first one writes.
    (("waits", "falls silent"), (1, 1), "has not been heard of for 3 s"),
    (("waits", "crashes"), (1, 1), "has ended with ValueError: boom"),
    (("waits", "fails"), (1, 2), "has ended (there is no folder x: name another)"),
    (("is through", "fails"), (0, 2), ""),
    (("fails", "fails"), (2, 2), "there is no folder x: name another."),
    (("is through", "is through"), (0, 0), ""),
]


@pytest.fixture(scope="module")
def started() -> dict[tuple[str, ...], dict[int, subprocess.Popen]]:
    """All at once, since they do little but wait."""
    return {what: start(free_address(), dict(enumerate(what)), 2) for what, _, _ in TOGETHER}


@pytest.mark.parametrize(("what", "codes", "said"), TOGETHER, ids=[", ".join(case[0]) for case in TOGETHER])
def test_all_end_where_one_does(started, what, codes, said):
    ended = end(started[what])
    assert (ended[0][0], ended[1][0]) == codes, ended
    assert said in ended[0][1]
    assert (ended[0][1] == "") == (said == "")
    assert ("Traceback" in ended[1][1]) == (what[1] == "crashes")


def test_those_that_do_not_come_are_named():
    address = free_address()
    alone = start(address, {1: "waits"}, 2, PALGAN_JOIN_SECONDS="0.5")
    ended = end(start(free_address(), {0: "waits", 3: "waits"}, 5, PALGAN_JOIN_SECONDS="1"))
    for code, written in ended.values():
        assert code == 1 and "error: processes 1, 2 and 4 of 5 have not come within 1 s: " in written
    assert f"process 0 of 2 does not answer at {address} (Connection refused): " in end(alone)[1][1]


def test_a_number_that_is_taken_and_one_of_another_run_are_refused():
    address = free_address()
    through = [start(address, {number: "is through"}, 3) for number in (0, 1)]
    others = [start(address, {number: "is through"}, count) for number, count in ((1, 3), (2, 4))]
    ((code, written),) = end(others[1]).values()
    assert code == 1 and "process 2 of 4 (host" in written and "has come to a run of 3 processes: " in written
    while all(one[1].poll() is None for one in (through[1], others[0])):
        time.sleep(0.02)
    through.append(start(address, {2: "is through"}, 3))
    ended = [result for processes in (*through, others[0]) for result in end(processes).values()]
    assert sorted(code for code, _ in ended) == [0, 0, 0, 1]
    assert "has come to the place of process 1 of 3 (host" in "".join(written for _, written in ended)


def test_the_command_that_waits_says_who_is_missing(monkeypatch, tmp_path, capsys):
    told = {"JAX_COORDINATOR_ADDRESS": free_address(), "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}
    for name, value in {**told, "PALGAN_JOIN_SECONDS": "0.5"}.items():
        monkeypatch.setenv(name, value)
    config = str(ROOT / "configs" / "tiny.py")
    commands = (
        ["train", "--config", config, "--workdir", str(tmp_path / "run")],
        ["evaluate", "--truth", str(tmp_path), "--output", str(tmp_path / "found"), "--baseline", "gray"],
    )
    for command in commands:
        assert main(command) == 2
        assert "palgan: error: process 1 of 2 has not come within 0.5 s: " in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------ who is to blame


def peers(*states: tuple[str, float, float]) -> dict[int, Peer]:
    """(state, when it was told, when the process was heard of last) of each."""
    return {
        number: Peer(f"process {number}", state=state, why="a reason", since=since, heard=heard)
        for number, (state, since, heard) in enumerate(states)
    }


def test_a_death_comes_before_what_follows_from_it():
    running = ("running", 0.0, 99.0)
    assert judge(peers(running, running), 100, 60) is None
    # A crash counts only once no other process may be dead.
    crashed = peers(("crashed", 99.0, 99.0), running, ("running", 0.0, 85.0))
    assert judge(crashed, 100, 60) is None
    assert judge(crashed, 140, 60) is None
    crashed[1].heard = crashed[0].heard = 145.0
    assert judge(crashed, 146, 60) == ("process 2 has not been heard of for 60 s", 2)
    crashed[2].heard = 145.0
    assert judge(crashed, 146, 60) == ("process 0 has ended with a reason", 0)
    crashed[2].state, crashed[2].since = "gone", 99.5
    assert judge(crashed, 146, 60) == ("process 2 is gone", 2)


def test_those_that_end_by_themselves_are_left_alone():
    done, failed, running = ("done", 10.0, 99.0), ("failed", 95.0, 99.0), ("running", 0.0, 154.0)
    assert judge(peers(done, failed), 100, 60) == (None, None)
    assert judge(peers(done, running), 1000, 1e6) is None
    assert judge(peers(failed, running), 100, 60) is None
    late = peers(("failed", 95.0, 154.0), running)
    assert judge(late, 156, 60) == ("process 0 has ended (a reason)", 0)


def test_many_processes_are_counted():
    assert numbers([3]) == "process 3"
    assert numbers([0, 4]) == "processes 0 and 4"
    assert numbers(list(range(1, 16))) == "processes 1, 2, 3, 4, 5, 6, 7, 8 and 7 more"


# --------------------------------------------------------------------------------------------------- who is one of them


@pytest.fixture
def environment(monkeypatch):
    """Sets variables, in an environment that tells of no other process."""
    for name in os.environ:
        if TELLING.match(name):
            monkeypatch.delenv(name)

    def tell(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return tell


def test_a_machine_of_its_own_joins_nobody(environment):
    assert find_place("auto") is None
    # A shell within an allocation of SLURM is no step of it.
    environment(SLURM_JOB_ID="7", SLURM_NTASKS="4", KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert find_place("auto") is None
    assert find_place("off") is None


def test_the_environment_may_name_the_place(environment):
    environment(JAX_COORDINATOR_ADDRESS="a.example:1234", JAX_NUM_PROCESSES="4", JAX_PROCESS_ID="3")
    assert find_place("auto") == find_place("on") == Place("a.example:1234", 3, 4)
    assert find_place("off") is None
    environment(JAX_NUM_PROCESSES="1", JAX_PROCESS_ID="0")
    assert find_place("auto") is None


def test_a_step_of_slurm_is_joined(environment):
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "node[03-06]", "SLURM_PROCID": "2", "SLURM_LOCALID": "1"}
    environment(**step, SLURM_NTASKS="4")
    assert find_place("auto") == Place("node03:61447", 2, 4, [1])
    environment(SLURM_NTASKS="1", SLURM_PROCID="0")
    assert find_place("auto") is None


@pytest.fixture
def metadata(environment):
    """A server that answers as the one of Google's cloud does; returns what it knows, which can be changed."""
    known: dict[str, str] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer = known.get(self.path.rpartition("/")[2])
            self.send_response(200 if answer is not None and self.headers["Metadata-Flavor"] == "Google" else 404)
            self.end_headers()
            self.wfile.write((answer or "").encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment(GCE_METADATA_IP=f"127.0.0.1:{server.server_address[1]}")
        yield known
        server.shutdown()


def test_the_machines_of_a_tpu_slice_are_joined_and_one_machine_is_not(environment, metadata, monkeypatch):
    slice_of_two = {
        "agent-worker-number": "1",
        "worker-network-endpoints": "unknown:unknown:127.0.0.1,unknown:unknown:127.0.0.2",
        "tpu-env": "ACCELERATOR_TYPE: 'v5litepod-16'\n",
    }
    metadata.update(slice_of_two)
    assert find_place("auto") is None  # no TPU is attached
    monkeypatch.setattr(cloud_tpu_init, "running_in_cloud_tpu_vm", True)
    monkeypatch.setattr("jax._src.clusters.cluster.running_in_cloud_tpu_vm", True)
    monkeypatch.setattr("jax._src.clusters.cloud_tpu_cluster.running_in_cloud_tpu_vm", True)
    assert find_place("auto") == Place("127.0.0.1:8482", 1, 2)
    metadata["worker-network-endpoints"] = "unknown:unknown:127.0.0.1"
    assert find_place("auto") is None
    metadata["tpu-env"] += (
        "MEGASCALE_NUM_SLICES: '2'\nMEGASCALE_SLICE_ID: '1'\nMEGASCALE_COORDINATOR_ADDRESS: 'localhost'\n"
    )
    metadata["agent-worker-number"] = "0"
    assert find_place("auto") == Place("localhost:8482", 1, 2)
    # A pod of Kubernetes has it in its environment.
    environment(TPU_WORKER_HOSTNAMES="localhost,b", TPU_WORKER_ID="1", MEGASCALE_NUM_SLICES="1", MEGASCALE_SLICE_ID="0",
                MEGASCALE_COORDINATOR_ADDRESS="localhost")  # fmt: skip
    metadata.clear()
    assert find_place("auto") == Place("localhost:8482", 1, 2)
    environment(TPU_WORKER_HOSTNAMES="localhost")
    assert find_place("auto") is None


def test_a_place_that_makes_no_sense_is_refused(environment):
    with pytest.raises(UserError, match=r"cannot be joined \(nothing here tells where they are\): set JAX"):
        find_place("on")
    environment(JAX_COORDINATOR_ADDRESS="a.example:1234", JAX_NUM_PROCESSES="two", JAX_PROCESS_ID="3")
    with pytest.raises(UserError, match="invalid literal"):
        find_place("auto")
    environment(JAX_NUM_PROCESSES="2")
    with pytest.raises(UserError, match="this one process 3 of 2"):
        find_place("auto")
    environment(JAX_COORDINATOR_ADDRESS="a.example", JAX_PROCESS_ID="1", PALGAN_JOIN_SECONDS="soon")
    with pytest.raises(UserError, match="PALGAN_JOIN_SECONDS=soon"):
        find_place("auto")
    environment(PALGAN_JOIN_SECONDS="5")
    with pytest.raises(UserError, match=r"a\.example is to be process 0"):
        find_place("auto")
