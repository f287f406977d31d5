"""Writes tests/golden/parity_*.npz: what PyTorch computes for the cases of tests/support/parity_cases.py.

    python -m porting.make_golden          # in an environment with the extra porting; JAX is not needed

A file holds outputs and updated state in full, and a probe of each gradient (golden_recipe.probe); inputs and weights
are drawn again from their names by the test. The arithmetic is float64 (torch_cases.run says why), the files float32.
Give names of cases to write only those.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

from porting import torch_cases
from porting.torch_cases import Case, golden_cases, probe

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"


def write(name: str, arrays: dict[str, np.ndarray]) -> None:
    """Writes one file, whole or not at all."""
    path = GOLDEN / f"{name}.npz"
    unfinished = path.with_name(f"unfinished-{path.name}")
    np.savez_compressed(unfinished, **arrays)
    unfinished.replace(path)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


def case_arrays(case: Case) -> dict[str, np.ndarray]:
    salt = torch_cases.safe_salt(case)
    arrays = {"salt": np.int32(salt)}
    for mode in case.modes:
        result = torch_cases.run(case, salt, mode)
        for part in ("outputs", "state"):
            part_arrays = {name: array.astype(np.float32) for name, array in getattr(result, part).items()}
            arrays |= {f"{mode}/{part}/{name}": array for name, array in part_arrays.items()}
        arrays |= {f"{mode}/gradients/{name}": probe(name, array) for name, array in result.gradients.items()}
    return arrays


def main(names: list[str]) -> None:
    torch.set_num_threads(1)  # the order of sums, and so the last bits, must not depend on the machine
    started = time.monotonic()
    for case in golden_cases():
        if not names or case.name in names:
            write(f"parity_{case.name}", case_arrays(case))
    total = sum(path.stat().st_size for path in GOLDEN.glob("parity_*.npz"))
    print(f"{total / 2**20:.2f} MiB in all, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
