"""Requests to stop, while the main thread is where Python's own handlers do not run."""

import os
import signal
import sys
import threading
import time

import pytest

from palgan_jax.distributed import preemption
from palgan_jax.distributed.preemption import ONE_PRESS_SECONDS, StopRequest
from palgan_jax.errors import ExitCode
from tests.support.places import ROOT
from tests.support.terminal import Terminal
from tests.support.waiting import wait_for

BUSY = """
import logging, sys, threading, time
import jax
from palgan_jax.distributed.preemption import StopRequest
from palgan_jax.util.signals import ending_at_ctrl_c
logging.basicConfig(format="%(message)s")
def endless(x):
    return jax.lax.while_loop(lambda x: x > 0, lambda x: jax.numpy.cos(x) ** 2 + 1, x)
forever = jax.jit(endless).lower(1.0).compile()
def whole():
    print("saving goes on")
    time.sleep(1)
    print("the save is whole")
with {context}:
    threading.Timer(0.2, print, ["begun"]).start()
    forever(1.0).block_until_ready()
"""


def busy(context: str) -> Terminal:
    """A process whose main thread is inside a computation without end."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    terminal = Terminal([sys.executable, "-c", BUSY.format(context=context)], columns=200, cwd=ROOT, env=environment)
    terminal.wait_for("begun")
    return terminal


def test_the_first_ctrl_c_is_answered_within_a_step_and_the_second_ends_it_once_a_save_is_whole():
    terminal = busy('StopRequest("step", lambda: "step 400", whole)')
    terminal.press_ctrl_c()
    terminal.wait_for("stopping after this step, and saving; Ctrl-C once more gives up what came after step 400")
    time.sleep(ONE_PRESS_SECONDS)
    terminal.press_ctrl_c()
    assert terminal.end() == ExitCode.INTERRUPTED
    assert terminal.lines()[-3:] == ["giving up what came after step 400", "saving goes on", "the save is whole"]


def test_ctrl_c_ends_what_has_nothing_to_save_at_once():
    terminal = busy("ending_at_ctrl_c()")
    terminal.press_ctrl_c()
    assert terminal.end() == ExitCode.INTERRUPTED
    assert "Traceback" not in terminal.written.decode()


@pytest.fixture
def ended(monkeypatch):
    codes = []
    monkeypatch.setattr(preemption, "end_process", codes.append)
    yield codes
    for thread in threading.enumerate():
        if thread.name == "give-up":  # it would end the tests once the function is the real one again
            thread.join()


def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)
        time.sleep(0.05)


def test_signals_that_mean_the_same_are_one_request(ended, caplog, monkeypatch):
    monkeypatch.setattr(preemption, "ONE_PRESS_SECONDS", 3600.0)  # a busy machine may take long between two of them
    before = signal.getsignal(signal.SIGINT)
    with StopRequest("batch", lambda: "the last save") as stop:
        assert not stop.is_requested(1)
        # A wrapper passes on what the terminal has sent already, and a scheduler sends SIGTERM to each of its tree.
        send(signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGTERM, signal.SIGHUP)
        wait_for(lambda: "stopping after this batch" in caplog.text)
        assert stop.is_requested(2) and not ended
    assert caplog.text.count("stopping after this batch") == 1 and "giving up" not in caplog.text
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)


def test_nothing_is_given_up_once_the_last_save_has_begun(ended, caplog):
    with StopRequest("step", lambda: "step 4") as stop:
        send(signal.SIGTERM)
        stop.begin_last_save()
        send(signal.SIGINT)
        wait_for(lambda: "still saving; Ctrl-C once more breaks it off" in caplog.text)
        assert not ended
        time.sleep(ONE_PRESS_SECONDS)
        send(signal.SIGINT)
        wait_for(lambda: ended == [ExitCode.INTERRUPTED])


def test_what_was_given_up_is_not_saved(ended, caplog):
    with StopRequest("step", lambda: "step 4") as stop:
        send(signal.SIGTERM, signal.SIGINT)
        wait_for(lambda: "giving up what came after step 4" in caplog.text)
        with pytest.raises(KeyboardInterrupt):
            stop.begin_last_save()
    wait_for(lambda: ended == [ExitCode.INTERRUPTED])


def test_the_third_ctrl_c_waits_for_no_save(ended, caplog):
    saved = threading.Event()
    with StopRequest("step", lambda: "step 4", saved.wait):
        for answer in ("stopping after this step", "giving up what came after step 4"):
            send(signal.SIGINT)
            wait_for(lambda answer=answer: answer in caplog.text)
            assert not ended
            time.sleep(ONE_PRESS_SECONDS)
        send(signal.SIGINT)
        wait_for(lambda: ended == [ExitCode.INTERRUPTED])
        saved.set()


def test_a_signal_that_the_process_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with StopRequest("step", lambda: "step 4") as stop:
            send(signal.SIGHUP)
            assert not stop.is_requested(1)
    finally:
        signal.signal(signal.SIGHUP, before)
