"""Runs that are killed, told to stop and interrupted, at random moments of all their phases."""

import os
import re
import signal
import time
from pathlib import Path

from tests.faults.bench import Bench, Command, last_step, resumed, rows, saved_steps
from tests.faults.fault import faults

PHASES = ("step", "compile", "save", "validation", "start")
SHORTEST, STARTED, COMPILED = 0.1, "compiling the training step", "curves and samples:"


def phase(command: Command, workdir: Path) -> str:
    """Returns what a run is doing."""
    if STARTED not in command.output:
        return "start"
    if COMPILED not in command.output:
        return "compile"
    if any((workdir / "checkpoints").glob("*orbax-checkpoint-tmp*")):
        return "save"
    last = rows(workdir)[-1:]
    return "validation" if last and last[0]["step"] % 4 == 0 and "val/psnr" not in last[0] else "step"


def _durations(command: Command, before: dict[str, float]) -> dict[str, float]:
    """Returns the seconds that the phases of a start took, as far as it came; else those of the one before."""

    def at(words: str) -> float | None:
        match = re.search(rf"^(\S+ \S+),\d+ process 0: {words}", command.output, re.MULTILINE)
        return time.mktime(time.strptime(match[1], "%Y-%m-%d %H:%M:%S")) - command.began if match else None

    start, compiled = at(STARTED), at(COMPILED)
    return {
        **before,
        **({} if start is None else {"start": start}),
        **({} if start is None or compiled is None else {"compile": compiled - start}),
    }


def _arrive(bench: Bench, command: Command, workdir: Path, phase_name: str, longest: float) -> bool:
    """Waits for a random moment of a phase; returns False where the run has ended before."""
    goal = last_step(workdir) + bench.chance.randrange(1, 6) if phase_name == "step" else 0

    def reached() -> bool:
        if phase_name == "step":
            return last_step(workdir) >= goal and COMPILED in command.output
        return phase(command, workdir) == phase_name

    if phase_name != "start" and not command.wait_for(reached):
        return False
    moment = time.monotonic() + bench.chance.uniform(SHORTEST if phase_name == "start" else 0, longest)
    command.wait_for(lambda: time.monotonic() >= moment)
    return command.running


def _end_often(bench: Bench, count: int, numbers: tuple[signal.Signals, ...], phases: dict[str, int]) -> list[str]:
    """Sends a signal to each of `count` starts of a run, which goes on each time, and compares it with a whole one.

    `phases` gets how many came in each.
    """
    wrong, workdir, done, expected = [], bench.new(), 0, 0
    durations = {"start": 5.0, "compile": 5.0, "step": 0.5, "save": 0.5, "validation": 1.0}

    def look(command: Command) -> None:
        wrong.extend(command.foreign())
        if COMPILED in command.output and (step := resumed(command.output)) != expected:
            wrong.append(f"went on from step {step} and not {expected}: {command.output[-800:]}")

    while done < count:
        target, number = PHASES[done % len(PHASES)], numbers[done % len(numbers)]
        # Now and then without compiled programs: the compiler itself is at work.
        more = {"JAX_COMPILATION_CACHE_DIR": str(bench.new("compiled"))} if done % 20 == 1 else {}
        command = bench.train(workdir, **more)
        alive = _arrive(bench, command, workdir, target, durations[target])
        durations = durations if more else _durations(command, durations)
        came_in = phase(command, workdir)
        if alive:
            # As the system does where memory runs out, and as a terminal does.
            send = os.killpg if number == signal.SIGINT else os.kill
            send(command.process.pid, number)
        code = command.end()
        look(command)
        if code == 0:
            wrong += bench.compare(workdir)
            workdir, expected = bench.new(), 0
            continue  # it was over before the signal came
        phases[came_in] = phases.get(came_in, 0) + 1
        done += 1
        saved = saved_steps(workdir)
        if code == 75 and f"saved step {last_step(workdir)};" not in command.output:
            wrong.append(f"stopped without saving step {last_step(workdir)}: {command.output[-800:]}")
        if code not in {signal.SIGKILL: (-9,), signal.SIGTERM: (-15, 75), signal.SIGINT: (130, 75)}[number]:
            wrong.append(f"{number.name} in {came_in} ended with {code}: {command.output[-1500:]}")
        expected = max(saved, default=0)
    command = bench.train(workdir)
    wrong += command.complaints(0)
    look(command)
    return wrong + bench.compare(workdir)


def _in_words(phases: dict[str, int]) -> str:
    return ", ".join(f"{count} in {name}" for name, count in phases.items())


@faults("SIGKILL", "goes on from the last save; all metrics to the bit as if nothing had happened", count=100)
def kill(bench: Bench, count: int) -> list[str]:
    phases: dict[str, int] = {}
    wrong = _end_often(bench, count, (signal.SIGKILL,), phases)
    bench.note = _in_words(phases)
    return wrong


@faults("SIGTERM and Ctrl-C", "the step is saved once there is one, exit 75; metrics as above", count=20)
def stop(bench: Bench, count: int) -> list[str]:
    phases: dict[str, int] = {}
    wrong = _end_often(bench, count, (signal.SIGTERM, signal.SIGINT), phases)
    bench.note = _in_words(phases)
    return wrong
