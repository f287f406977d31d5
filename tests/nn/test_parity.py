"""Networks, palettes, color, losses and the training step against golden files that PyTorch made.

The files come from porting/make_golden.py; porting/test_torch_parity.py compares with PyTorch itself.
"""

import numpy as np
import pytest

from tests.support import parity_flax
from tests.support.parity_cases import Result, differences, golden_cases, probe_differences
from tests.support.places import GOLDEN

CASES = {case.name: case for case in golden_cases()}


@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name, case in CASES.items() for mode in case.modes])
def test_agrees_with_pytorch(name, mode):
    with np.load(GOLDEN / f"parity_{name}.npz") as file:
        golden = {path: file[path] for path in file.files}
    result = parity_flax.run(CASES[name], int(golden["salt"]), mode)

    def part(name: str) -> dict[str, np.ndarray]:
        prefix = f"{mode}/{name}/"
        return {path.removeprefix(prefix): array for path, array in golden.items() if path.startswith(prefix)}

    shares = differences(Result(result.outputs, {}, result.state), Result(part("outputs"), {}, part("state")))
    shares |= probe_differences(result.gradients, part("gradients"))
    assert len(shares) >= 2
    misses = {path: round(share, 2) for path, share in shares.items() if not share <= 1}
    assert not misses, f"further from PyTorch than allowed (1 = just allowed): {misses}"


def test_golden_files_are_those_of_the_cases():
    assert {path.stem.removeprefix("parity_") for path in GOLDEN.glob("parity_*.npz")} == CASES.keys()


@pytest.mark.parametrize("part", ["outputs", "gradients", "state"])
def test_a_difference_is_noticed(part):
    """The comparison itself: an error of three times what is allowed, in one entry, is reported under its name."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((4, 5)).astype(np.float32) for name in ("a", "b")}
    expected = Result(arrays, arrays, arrays)
    assert max(differences(expected, expected).values()) == 0
    wrong = {name: array.copy() for name, array in arrays.items()}
    wrong["b"][2, 3] += 3e-3 * np.abs(wrong["b"]).max()
    shares = differences(Result(**{**vars(expected), part: wrong}), expected)
    assert [name for name, share in shares.items() if share > 1] == [f"{part}/b"]
