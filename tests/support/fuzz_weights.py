"""Files of weights (safetensors) and checkpoints of runs (Orbax), to be damaged (tests/support/fuzz.py).

Half of the checkpoints get checksums that agree with the damage, so that it comes to the readers behind them.
"""

import json
import logging
import random
import struct
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import numpy as np
from etils import epath

from palgan_jax.checkpoint import checksums
from palgan_jax.checkpoint.find import describe
from palgan_jax.checkpoint.reading import load_ema
from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.checkpoint.weights import Weights
from palgan_jax.checkpoint.weights_file import load_weights, save_weights
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.errors import UserError
from tests.support.checkpoint_state import build
from tests.support.colorize_model import tiny_weights
from tests.support.fuzz import Reader, damaged, problem_of_sentence
from tests.support.fuzz_json import changed

_VALUES = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e38, -1e38, 1e-42)


Files = dict[str, bytes]
"""The files of a checkpoint by their paths in its folder."""


# --------------------------------------------------------------------------------------------------------- the outcome


def _problem_of_weights(weights: Weights) -> str:
    """Takes weights that were read, as the commands do. Returns what is wrong with the outcome, "" where nothing is."""
    sound = Colorizer(tiny_weights())
    try:
        colorizer = Colorizer(weights)
        fields = ("network", "spec")
        # Others take seconds to compile.
        if colorizer.config.ab_range == 110 and all(getattr(colorizer, x) == getattr(sound, x) for x in fields):
            colorizer.predict(np.full((64, 64), 50, np.float32))
    except UserError as error:
        return problem_of_sentence(error, "")
    if not 64 <= colorizer.resolution <= 1024:
        return f"takes a resolution of {colorizer.resolution}"
    return ""


def _problem_of_file(content: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        path.write_bytes(content)
        try:
            weights = load_weights(path)
            text = describe(path)
        except UserError as error:
            return problem_of_sentence(error, "x.safetensors")
        return _problem_of_weights(weights) or ("" if text.isprintable() or "\x1b" not in text else "prints codes")


def _problem_of_checkpoint(files: Files, checksums_agree: bool) -> str:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "x" / "7"
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        if checksums_agree:
            checksums.write(epath.Path(root))
        try:
            weights = load_ema(root.parent)
            load_ema(root.parent, "best")
        except UserError as error:
            return problem_of_sentence(error, "x")
        return _problem_of_weights(weights)


# ------------------------------------------------------------------------------------------------------------ damage


def _other_values(content: bytes, start: int, chance: random.Random) -> bytes:
    """Returns a file with other numbers at some place behind its header."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 20))):
        at = start + 4 * chance.randrange((len(data) - start) // 4)
        data[at : at + 4] = struct.pack("<f", chance.choice(_VALUES))
    return bytes(data)


def _damaged_file(content: bytes, chance: random.Random) -> bytes:
    length = int.from_bytes(content[:8], "little")
    kind = chance.random()
    if kind < 0.3:
        return damaged(content, [content], chance)
    if kind < 0.5:
        return _other_values(content, 8 + length, chance)
    header = json.loads(content[8 : 8 + length])
    if kind < 0.8:
        described = chance.choice(("config", "config", "metrics", "step", "averaged", "format", "format_version"))
        header["__metadata__"][described] = changed(header["__metadata__"].get(described, "[1, 2]"), chance)
        text = json.dumps(header)
    else:
        text = changed(json.dumps(header), chance)
    header_bytes = text.encode()
    header_bytes += b" " * (-len(header_bytes) % 8)
    return len(header_bytes).to_bytes(8, "little") + header_bytes + content[8 + length :]


def _damaged_checkpoint(sound: Files, chance: random.Random) -> Files:
    files = dict(sound)
    for _ in range(chance.choice((1, 1, 2))):
        described = [name for name, content in sorted(files.items()) if content[:1] in (b"{", b"[")]
        name = chance.choice([*sorted(files), *described, *(["_CHECKPOINT_METADATA"] * 6)])
        kind = chance.random()
        if name not in files or kind < 0.1:
            files.pop(name, None)
        elif kind < 0.15:
            files[name] = files[chance.choice(sorted(files))]
        elif kind < 0.5 or name not in described:
            files[name] = damaged(files[name], [files[other] for other in sorted(files)], chance)
        else:
            files[name] = changed(files[name].decode(errors="replace"), chance).encode()
    return files


# -------------------------------------------------------------------------------------------------------- sound files


def _sound_checkpoint(weights: Weights) -> Files:
    state = build().replace(generator={"params": {}, "spectral": weights.variables["spectral"]})
    ema = {name: jax.device_put(tree) for name, tree in weights.variables.items() if name != "spectral"}
    with tempfile.TemporaryDirectory() as folder:
        with Checkpoints(folder, best="val/psnr") as checkpoints:
            checkpoints.save(
                7, state.replace(ema=ema), data_position=70, config=weights.config, metrics={"val/psnr": 24.5}
            )
        root = Path(folder) / "7"
        return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def reader_of_checkpoints() -> Reader:
    """Makes a sound checkpoint, and looks that it is read; half of the mutants get checksums that agree."""
    # Of damage that checksums agree with, which no disk makes, the libraries of Orbax write lines of their own.
    logging.disable(logging.CRITICAL)
    sound = _sound_checkpoint(_sound_weights())
    assert not any(_problem_of_checkpoint(sound, agree) for agree in (False, True))

    def read(number: int) -> tuple[str, Callable[[], str]]:
        chance = random.Random(number)
        agree = chance.random() < 0.5
        name = "checkpoint-summed" if agree else "checkpoint"
        return name, partial(_problem_of_checkpoint, _damaged_checkpoint(sound, chance), agree)

    return read


def _sound_weights() -> Weights:
    weights = tiny_weights()
    return Weights(weights.variables, weights.config, 1234, {"val/psnr": 24.5, "val/fid": None})


def reader() -> Reader:
    """Makes the sound files, and looks that they are read. One mutant of ten is a checkpoint."""
    weights, read_checkpoint, files = _sound_weights(), reader_of_checkpoints(), {}
    with tempfile.TemporaryDirectory() as folder:
        for dtype in ("float32", "float16"):
            save_weights(path := Path(folder) / "x.safetensors", weights, dtype)
            files[dtype] = path.read_bytes()
    assert not any(_problem_of_file(content) for content in files.values())

    def read(number: int) -> tuple[str, Callable[[], str]]:
        chance = random.Random(number)
        if chance.random() < 0.1:
            return read_checkpoint(number)
        name = chance.choice(sorted(files))
        return name, partial(_problem_of_file, _damaged_file(files[name], chance))

    return read
