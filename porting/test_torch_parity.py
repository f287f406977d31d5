"""The Flax networks against the PyTorch ones, side by side in one process.

    pytest porting          # in an environment with the extra porting

Width 1/8 and 128 x 128 pictures, every entry of every gradient; the alternatives; the parameter counts at width 1.
"""

from dataclasses import replace

import jax
import numpy as np
import pytest
import torch

from palgan_jax.export import pytorch_network
from palgan_jax.nn import ColorDiscriminator, PaletteGenerator, PalGAN
from porting import convert, torch_cases, torch_palgan
from tests.support import golden_recipe as recipe
from tests.support import parity_flax
from tests.support.parity_cases import Case, differences, function_case, layer_cases, network_cases, step_case

WIDTH, SIZE = 1 / 8, 128
# Smaller than that of the golden files, which have to serve other machines too: here are eight times the activations.
MARGIN = 1e-6
NETWORKS = {case.name: case for case in network_cases(WIDTH, SIZE)}
LAYERS = {case.name: case for case in layer_cases()}


def compare(case: Case, mode: str, dtype=torch.float64) -> None:
    salt = torch_cases.safe_salt(replace(case, modes=(mode,)), MARGIN)
    shares = differences(parity_flax.run(case, salt, mode), torch_cases.run(case, salt, mode, dtype))
    misses = {path: round(share, 2) for path, share in shares.items() if not share <= 1}
    assert not misses, f"further apart than allowed (1 = just allowed): {misses}"


@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name, case in NETWORKS.items() for mode in case.modes])
def test_network(name, mode):
    """float32 on both sides."""
    compare(NETWORKS[name], mode, torch.float32)


@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name, case in LAYERS.items() for mode in case.modes])
def test_layer(name, mode):
    compare(LAYERS[name], mode)


@pytest.mark.parametrize(
    "option",
    [
        {"norm": "spade"},
        {"norm": "instance"},
        {"tap": "before"},
        {"normalize_palette": False, "palette_scale": 1.0},
        {"model": "autoencoder"},
    ],
    ids=lambda option: "-".join(f"{key}-{value}" for key, value in option.items()),
)
def test_alternative_of_the_whole(option):
    case = {case.name: case for case in network_cases(1 / 16, 64)}["palgan"]
    compare(replace(case, options={**case.options, **option}), "eval")


def test_functions():
    compare(function_case(), "eval")


def test_training_step():
    compare(step_case(WIDTH, 64), "train")


def test_parameter_counts_at_full_width():
    """The counts of the paper's network (22M), less the biases that a batch norm cancels."""
    l, ab, rgb = np.zeros((1, 256, 256, 1)), np.zeros((1, 256, 256, 2)), np.zeros((1, 256, 256, 3))
    pairs = {
        2_616_832: (PaletteGenerator(), (l,), pytorch_network.PaletteGenerator()),
        21_904_834: (PalGAN(), (l,), torch_palgan.PalGAN()),
        1_045_121: (ColorDiscriminator(), (ab, rgb, np.zeros((1, 256))), torch_palgan.ColorDiscriminator()),
    }
    for count, (flax_module, arguments, torch_module) in pairs.items():
        shapes = jax.eval_shape(lambda m=flax_module, a=arguments: m.init(jax.random.key(0), *a))
        assert sum(x.size for x in jax.tree.leaves(shapes["params"])) == count
        assert sum(x.numel() for x in torch_module.parameters()) == count
        # The same names and shapes on both sides, batch statistics and spectral vectors included.
        by_torch = convert.to_flax(torch_module)
        assert jax.tree.map(np.shape, by_torch) == jax.tree.map(np.shape, shapes)


def test_weights_survive_the_way_there_and_back():
    case = NETWORKS["palgan"]
    module = torch_cases.build(case)
    flat = recipe.flatten(convert.to_flax(module))
    for path, array in flat.items():
        np.testing.assert_array_equal(array, recipe.weight(path, array.shape), err_msg=path)


@pytest.mark.parametrize("fault", ["missing", "shape", "unused"])
def test_weights_that_do_not_fit_are_refused(fault):
    module = torch_palgan.ColorDiscriminator(WIDTH)
    variables = convert.to_flax(module)
    if fault == "missing":
        del variables["params"]["conv_1"]
    elif fault == "shape":
        variables["params"]["phi"]["bias"] = np.zeros(3, np.float32)
    else:
        variables["params"]["phi"]["extra"] = np.zeros(3, np.float32)
    with pytest.raises(RuntimeError, match={"missing": "Missing", "shape": "mismatch", "unused": "Unexpected"}[fault]):
        convert.load_flax(module, variables)
