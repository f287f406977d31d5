"""Several real processes: who is joined, and how all of them end together. Whole runs are in training/."""

import http.server
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from palgan_jax.distributed import join, partner_death
from palgan_jax.distributed.join import HEARTBEAT_SECONDS, joined
from palgan_jax.distributed.partner_death import ABOUT
from palgan_jax.errors import ExitCode, UserError
from tests.support.addresses import free_address
from tests.support.places import ROOT

CLUSTER = re.compile(r"JAX_(COORDINATOR|NUM|PROCESS)|SLURM_|OMPI_|TPU_|MEGASCALE|KUBERNETES|GCE_|PALGAN_JOIN")

PROCESS = """
import os, signal, sys, time
from pathlib import Path
import jax
import numpy as np
from jax.experimental import multihost_utils
from palgan_jax.distributed.join import joined
from palgan_jax.errors import UserError, report

initialize = jax.distributed.initialize

def initialize_all(*arguments, **options):
    initialize(*arguments, **options)
    together, number = Path(os.environ["TOGETHER"]), int(os.environ["JAX_PROCESS_ID"])
    (together / str(number)).touch()
    if sys.argv[1] == "dies on joining":
        while not (together / str(1 - number)).exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGKILL)

jax.distributed.initialize = initialize_all
try:
    with joined("auto"):
        multihost_utils.process_allgather(np.ones(3))
        print("joined", flush=True)
        action = sys.argv[1]
        if action == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if action == "crashes":
            raise ValueError("boom")
        if action == "fails":
            raise UserError("there is no folder x: name another.")
        if action == "falls silent":
            os.kill(os.getpid(), signal.SIGSTOP)
        if action == "gathers":
            multihost_utils.process_allgather(np.ones(3))
        if action != "is through":
            time.sleep(3600)
except Exception as error:
    sys.exit(report(error))
"""


def start(*actions: str | None, **variables: str) -> dict[int, subprocess.Popen]:
    """Starts a process for each action; None is a process that never comes."""
    address = free_address()
    place = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(len(actions))}
    return {
        number: subprocess.Popen(
            [sys.executable, "-c", PROCESS, action], cwd=ROOT, text=True,
            env={**os.environ, **place, **variables, "JAX_PROCESS_ID": str(number), "XLA_FLAGS": ""},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number, action in enumerate(actions)
        if action is not None
    }  # fmt: skip


ENDS = {
    ("waits", "is killed", "waits"): {0: -signal.SIGABRT, 2: -signal.SIGABRT},
    ("is killed", "waits", "waits"): {1: -signal.SIGABRT, 2: -signal.SIGABRT},
    ("gathers", "is killed"): {0: ExitCode.FAULT},
    ("waits", "falls silent"): {0: -signal.SIGABRT},
    ("waits", "fails"): {0: -signal.SIGABRT, 1: ExitCode.BAD_INPUT},
    ("crashes", "waits"): {0: ExitCode.FAULT, 1: -signal.SIGABRT},
    ("is through", "is through"): {0: ExitCode.FINISHED, 1: ExitCode.FINISHED},
}
"""What the processes of a run do, and the exit codes of those that are left to end by themselves."""


JOINING = [("dies on joining", "waits"), ("waits", "dies on joining")]
"""Runs of which one process dies before the others know its devices."""


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Starts all runs at once, since they do little but wait."""
    runs = {actions: start(*actions, TOGETHER=str(tmp_path_factory.mktemp("run"))) for actions in (*ENDS, *JOINING)}
    yield runs
    for process in (process for run in runs.values() for process in run.values()):
        process.kill()
        process.communicate()


@pytest.mark.parametrize("actions", ENDS, ids=", ".join)
def test_all_processes_end_with_one_of_them(started, actions):
    processes = started[actions]
    for process in processes.values():
        assert "joined\n" in iter(process.stdout.readline, "")
    for number, code in ENDS[actions].items():
        assert processes[number].wait(timeout=600) == code
    errors = {number: processes[number].stderr.read() for number in ENDS[actions]}
    for number, code in ENDS[actions].items():
        if code == -signal.SIGABRT or actions == ("gathers", "is killed"):
            lines = [line for line in errors[number].splitlines() if "ends, and with it" not in line]
            assert lines == [f"palgan: error: {ABOUT}"]
    if "fails" in actions:
        sentence, end = errors[1].splitlines()[-2:]
        assert sentence == "palgan: error: there is no folder x: name another."
        assert end == "palgan: process 1 of 2 ends, and with it all others"


@pytest.mark.parametrize("actions", JOINING, ids=", ".join)
def test_a_death_before_the_devices_are_known_is_told_in_one_sentence(started, actions):
    process = started[actions][actions.index("waits")]
    errors = process.communicate(timeout=600)[1]
    assert process.returncode in (ExitCode.FAULT, -signal.SIGABRT)
    assert errors.splitlines() == [f"palgan: error: {ABOUT}"]


@pytest.mark.parametrize("collective", ["AllGather", "all-reduce"])
def test_a_death_during_a_save_is_no_lack_of_room(collective):
    try:
        try:
            raise ValueError(f"UNKNOWN: Gloo {collective} failed: [pair.cc:538] Read error: Connection reset by peer")
        except ValueError as error:
            raise UserError("a checkpoint cannot be written: make room.") from error
    except UserError as error:
        assert join._is_partner_death(error)
    assert join._is_partner_death(RuntimeError("UNAVAILABLE: recvmsg: Connection reset by peer"))
    assert not join._is_partner_death(UserError("Gloo AllGather failed"))
    assert not join._is_partner_death(ValueError("the service failed"))
    assert not join._is_partner_death(KeyboardInterrupt("Gloo AllGather failed"))


def test_a_bucket_that_is_unavailable_is_no_death():
    try:
        try:
            raise ValueError("UNAVAILABLE: CURL error: Could not connect to server")
        except ValueError as error:
            raise UserError("gs://bucket/run cannot be written: see to the network.") from error
    except UserError as error:
        assert not join._is_partner_death(error)


def test_a_stack_after_another_threads_sentence_is_left_out():
    lines = [
        "F1129 23:15:24.520384   11617 client.h:77] Terminating process because the JAX distributed service failed",
        "RPC: /xla.coordination.CoordinationService/PollForError",
        "palgan: process 1 of 2 ends, and with it all others",
        "*** Check failure stack trace: ***",
        "    @     0x7f39b3840634  absl::lts_20260107::log_internal::LogMessage::SendToLog()",
        "    @     0x7f39bb4a71f5  (unknown)",
        "2026-11-29 23:15:25,001 process 1: saved",
    ]
    text = "".join(f"{line}\n" for line in lines)
    copied = subprocess.run([sys.executable, "-S", partner_death.__file__], input=text, capture_output=True, text=True)
    assert copied.stdout.splitlines() == [lines[2], lines[6]]


def test_a_death_is_found_before_a_minute_is_over():
    assert 10 <= HEARTBEAT_SECONDS <= 45


@pytest.mark.parametrize("actions", [("waits", None), (None, "waits")], ids=["the first waits", "another waits"])
def test_a_process_that_never_comes_is_told_in_one_sentence(tmp_path, actions):
    ((number, process),) = start(*actions, PALGAN_JOIN_SECONDS="2", TOGETHER=str(tmp_path)).items()
    errors = process.communicate(timeout=600)[1]
    assert process.returncode == ExitCode.FAULT
    (sentence,) = re.findall("palgan: error: .*", errors)
    message = rf"process {number} of 2 has waited 2 s for all processes of the run to join at 127\.0\.0\.1:\d+: see "
    assert re.search(message, sentence)
    assert "Traceback" not in errors and "@" not in errors


# --------------------------------------------------------------------------------------------------- who is one of them


@pytest.fixture
def environment(monkeypatch):
    """Sets variables, in an environment that names no other process, and returns what JAX was asked for."""
    for name in filter(CLUSTER.match, list(os.environ)):
        monkeypatch.delenv(name)

    def set_variables(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


def joins() -> bool:
    return join._names_several_processes()


def test_a_machine_of_its_own_joins_nobody(environment):
    assert not joins()
    # A shell within an allocation of SLURM is no step of it.
    environment(SLURM_JOB_ID="7", SLURM_NTASKS="4", KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert not joins()
    with joined("auto"), joined("off"):
        pass


def test_steps_of_clusters_and_named_processes_are_joined(environment):
    environment(SLURM_JOB_ID="7", SLURM_STEP_NODELIST="node[03-06]", SLURM_NTASKS="4", SLURM_PROCID="2")
    assert joins()
    environment(SLURM_NTASKS="1", SLURM_PROCID="0")
    assert not joins()
    environment(OMPI_MCA_orte_hnp_uri="1531576320.0;tcp://10.96.0.1:34911", OMPI_COMM_WORLD_SIZE="2")
    assert joins()
    environment(JAX_COORDINATOR_ADDRESS="a.example:1234", JAX_NUM_PROCESSES="1", JAX_PROCESS_ID="0")
    assert not joins()
    environment(JAX_NUM_PROCESSES="2")
    assert joins()


@pytest.fixture
def metadata(environment):
    """Starts a server that answers as the one of Google's cloud does; returns its attributes, which can be changed."""
    attributes: dict[str, str] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer = attributes.get(self.path.rpartition("/")[2])
            self.send_response(200 if answer is not None and self.headers["Metadata-Flavor"] == "Google" else 404)
            self.end_headers()
            self.wfile.write((answer or "").encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment(GCE_METADATA_IP=f"127.0.0.1:{server.server_address[1]}")
        yield attributes
        server.shutdown()


def test_the_machines_of_a_tpu_slice_are_joined_and_one_machine_is_not(environment, metadata, monkeypatch):
    metadata["worker-network-endpoints"] = "unknown:unknown:127.0.0.1,unknown:unknown:127.0.0.2"
    metadata["tpu-env"] = "ACCELERATOR_TYPE: 'v5litepod-16'\n"
    assert not joins()  # no TPU is attached
    monkeypatch.setattr(join, "_has_tpu", lambda: True)
    assert joins()
    metadata["worker-network-endpoints"] = "unknown:unknown:127.0.0.1"
    assert not joins()
    metadata["tpu-env"] += "MEGASCALE_NUM_SLICES: '2'\n"
    assert joins()
    # A pod of Kubernetes has it in its environment.
    metadata.clear()
    environment(TPU_WORKER_HOSTNAMES="localhost,b")
    assert joins()
    environment(TPU_WORKER_HOSTNAMES="localhost")
    assert not joins()


def test_an_environment_that_makes_no_sense_is_refused(environment):
    def refused(sentence: str) -> None:
        with pytest.raises(UserError, match=sentence), joined("auto"):
            pass

    with pytest.raises(UserError, match=r"cannot be joined \(.*\): set JAX_COORDINATOR_ADDRESS"), joined("on"):
        pass
    environment(JAX_COORDINATOR_ADDRESS="a.example:1234", JAX_NUM_PROCESSES="two", JAX_PROCESS_ID="3")
    refused("JAX_NUM_PROCESSES=two is not a whole number")
    environment(JAX_NUM_PROCESSES="2")
    refused("process 3 cannot be one of 2")
    environment(JAX_PROCESS_ID="1", JAX_COORDINATOR_ADDRESS="a.example")
    refused("JAX_COORDINATOR_ADDRESS=a.example is not HOST:PORT")
    environment(PALGAN_JOIN_SECONDS="soon")
    refused("PALGAN_JOIN_SECONDS=soon is not a number of seconds")
