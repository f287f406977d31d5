"""Damaged checkpoints and weights, and training that blows up."""

import shutil

from tests.faults.bench import Bench, resumed, saved_steps
from tests.faults.fault import fault, faults
from tests.support.fuzz import fuzz

BAD_INPUT = 2


@faults("damaged checkpoints", "each is read, or refused by one sentence, in bounded time and memory", count=100)
def damaged_checkpoints(bench: Bench, count: int) -> list[str]:
    return fuzz("checkpoints", bench.chance.randrange(1_000_000), count)


@faults("damaged files of weights", "each is read, or refused by one sentence, in bounded time and memory", count=100)
def damaged_weights(bench: Bench, count: int) -> list[str]:
    return fuzz("weights", bench.chance.randrange(1_000_000), count)


@fault("a rate that makes losses infinite", "one sentence, exit 2; a smaller one goes on from a sound save", count=3)
def infinite_loss(bench: Bench, _: int) -> list[str]:
    # Norms and the ends of activations keep rates of Adam finite for long; with this decay, they are not.
    fixed = "--config.optim.weight_decay=1e9", "--config.optim.d_lr=1e-12"
    small, huge = "--config.optim.g_lr=1e-12", "--config.optim.g_lr=1"
    workdir = bench.new()
    command = bench.train(workdir, *fixed, small)
    command.wait_for(lambda: len(saved_steps(workdir)) >= 1)
    command.kill()
    wrong = bench.train(workdir, *fixed, huge).complaints(
        BAD_INPUT, r"is not finite at step \d+ .* lower --config.optim.g_lr"
    )
    sound = max(saved_steps(workdir))
    smaller = bench.train(workdir, *fixed, small)
    if smaller.end() == BAD_INPUT:
        # What was saved last had been finite, and was beyond repair: the sentence says what to remove.
        wrong += smaller.complaints(BAD_INPUT, rf"right after the checkpoint .*: remove {workdir}/checkpoints/{sound},")
        shutil.rmtree(workdir / "checkpoints" / str(sound))
        sound = max(saved_steps(workdir))
        smaller = bench.train(workdir, *fixed, small)
    wrong += smaller.complaints(0)
    return wrong + ([] if resumed(smaller.output) == sound else [f"went on from {resumed(smaller.output)}"])
