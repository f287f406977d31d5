"""What differs in programs for TPUs, packed columns and kernels, computes the same; kernels are interpreted here."""

from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palgan_jax.benchmark.compiled import lower_predict, lower_train
from palgan_jax.benchmark.topology import ENVIRONMENT, describe_slice
from palgan_jax.config import Phases, load_config
from palgan_jax.distributed.mesh import batch_sharding, make_mesh, replicated
from palgan_jax.nn import ColorDiscriminator, PalGAN
from palgan_jax.nn.build import build_discriminator, build_generator
from palgan_jax.nn.norms import PalNorm
from palgan_jax.nn.ops.attention import attend, cut_patches, cut_slabs, fold_patches, fold_slabs
from palgan_jax.nn.ops.columns import Columns, pack, unpack
from palgan_jax.nn.ops.convolution import convolve
from palgan_jax.nn.ops.guided_filter import guided_filter
from palgan_jax.nn.ops.tpu import attention as tpu_attend
from palgan_jax.nn.ops.tpu import guided_filter as tpu_guided_filter
from palgan_jax.training.compile import compile_step, make_program

KEY = jax.random.key(0)
TINY = 1 / 16


@pytest.fixture(params=[1, 8])
def mesh(request):
    return make_mesh(devices=jax.devices()[: request.param])


@pytest.fixture
def one_chip():
    return make_mesh(devices=jax.devices()[:1])


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def assert_same_gradients(function, other, *arguments, tolerance: float = 1e-5):
    """Both take the same arguments; compared are values, and gradients of a random sum of these.

    The tolerance is that of the largest number.
    """

    def values_and_gradients(function, g, *arguments):
        values, pull_back = jax.vjp(function, *arguments)
        return values, pull_back(g)

    run = jax.jit(values_and_gradients, static_argnums=0)
    g = normal(9, *jax.eval_shape(other, *arguments).shape)
    expected, expected_gradients = run(other, g, *arguments)
    actual, gradients = run(function, g, *arguments)
    np.testing.assert_allclose(actual, expected, atol=tolerance * float(jnp.abs(expected).max()))
    for gradient, expected_gradient in zip(
        jax.tree.leaves(gradients), jax.tree.leaves(expected_gradients), strict=True
    ):
        np.testing.assert_allclose(
            gradient, expected_gradient, atol=tolerance * (1e-3 + float(jnp.abs(expected_gradient).max()))
        )


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "n", "columns"),
    [
        (3, 1, 1, 2, 2),
        (3, 1, 1, 1, 2),
        (3, 1, 1, 4, 4),
        (3, 2, 1, 1, 4),
        (3, 2, 1, 4, 2),
        (3, 2, 1, 2, 1),
        (3, 2, 1, 1, 2),
        (1, 1, 0, 2, 2),
        (1, 1, 0, 1, 4),
        (5, 1, 2, 2, 2),
        (4, 2, 1, 2, 2),
    ],
)
def test_convolutions_of_packed_columns(kernel, stride, padding, n, columns):
    x, weights = normal(0, 2, 16, 16, 6), normal(1, kernel, kernel, 6, 5)

    def plain(x, weights):
        pads = 2 * [(padding, padding)]
        return jax.lax.conv_general_dilated(
            x, weights, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def packed(x, weights):
        y = convolve(pack(x, n), weights, stride, padding, columns)
        assert isinstance(y, Columns) == (columns > 1)
        return unpack(y)

    assert_same_gradients(packed, plain, x, weights)


def test_columns_that_no_convolution_can_pack_are_refused():
    with pytest.raises(ValueError, match="4 packed columns cannot be convolved to 1 packed columns with stride 2"):
        convolve(pack(jnp.zeros((1, 4, 16, 2)), 4), jnp.zeros((3, 3, 2, 2)), 2, 1, 1)


def test_packed_columns_read_as_the_picture_that_they_stand_for():
    x, y = normal(0, 2, 4, 6, 3), normal(1, 2, 4, 6, 3)
    columns = pack(x, 2)
    assert columns.shape == x.shape and columns.array.shape == (2, 4, 3, 6)
    for other in (y, pack(y, 2), pack(y, 3), normal(2, 3), normal(3, 2, 1, 1, 3), normal(4, 2, 4, 6, 1), 2.0):
        for packed_result, result in (
            (columns + other, x + unpack(other)),
            (columns - other, x - unpack(other)),
            (columns * other, x * unpack(other)),
            (other * columns, unpack(other) * x),
        ):
            np.testing.assert_allclose(unpack(packed_result), result, rtol=1e-6)
    for axes in ((0, 1, 2), (1, 2)):
        np.testing.assert_allclose(columns.mean(axes), x.mean(axes), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["palette", "batch", "instance", "spade"])
def test_norms_of_packed_columns(kind):
    norm = PalNorm(kind, TINY)
    x, h, l = normal(0, 2, 8, 8, 6), jax.nn.softmax(normal(1, 2, 256)), normal(2, 2, 16, 16, 1)
    variables = norm.init(KEY, x, h, l, True)
    variables = {**variables, "params": jax.tree.map(lambda p: p + 0.1, variables["params"])}
    expected, expected_updates = norm.apply(variables, x, h, l, True, mutable=["batch_stats"])
    y, updates = norm.apply(variables, pack(x, 2), h, l, True, mutable=["batch_stats"])
    np.testing.assert_allclose(unpack(y), expected, atol=1e-5 * float(jnp.abs(expected).max()))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), updates, expected_updates)


@pytest.mark.parametrize(("height", "width", "channels", "radius"), [(16, 24, 4, 4), (32, 16, 32, 4), (8, 8, 3, 0)])
def test_the_kernel_of_the_guided_filter(mesh, height, width, channels, radius):
    x, l = normal(0, 8, height, width, channels), 0.3 * normal(1, 8, height, width, 1)
    assert tpu_guided_filter.fits(pack(x, 2), radius, mesh)

    def by_kernel(l, scale, x):
        return unpack(guided_filter(l, scale, pack(x, 2), radius, 1e-3, mesh))

    assert_same_gradients(
        by_kernel, lambda l, scale, x: guided_filter(l, scale, x, radius, 1e-3), l, normal(2, channels), x
    )


@pytest.mark.parametrize(("height", "width", "columns"), [(16, 24, 2), (64, 64, 2), (32, 32, 1)])
def test_the_kernel_of_the_attention(mesh, height, width, columns):
    x = normal(0, 8, height, width, 6)
    q, k = (normal(seed, 8, height * width // 16, 6) for seed in (1, 2))
    assert tpu_attend.fits(q, cut_slabs(pack(x, columns)), mesh)

    def by_kernel(q, k, x):
        slabs = cut_slabs(pack(x, columns))
        return unpack(fold_slabs(tpu_attend.attend(q, k, slabs, mesh), pack(x, columns)))

    assert_same_gradients(by_kernel, lambda q, k, x: fold_patches(attend(q, k, cut_patches(x)), height, width), q, k, x)


def test_kernels_of_bfloat16(one_chip):
    """As far from float32 as the programs of other devices are."""
    x, l, scale = normal(0, 2, 16, 16, 16), 0.3 * normal(1, 2, 16, 16, 1), normal(2, 16)
    q, k = (normal(seed, 2, 16, 16) for seed in (3, 4))
    half = jnp.bfloat16

    def filtered(x):
        return unpack(guided_filter(l, scale, pack(x.astype(half), 2), 4, 1e-3, one_chip)).astype(jnp.float32)

    def attended(q, k, x):
        slabs = cut_slabs(pack(x.astype(half), 2))
        return tpu_attend.attend(q.astype(half), k.astype(half), slabs, one_chip).astype(jnp.float32)

    assert_same_gradients(filtered, lambda x: guided_filter(l, scale, x, 4, 1e-3), x, tolerance=0.02)

    def plain(q, k, x):
        return cut_slabs(pack(fold_patches(attend(q, k, cut_patches(x)), 16, 16), 2))

    assert_same_gradients(attended, plain, q, k, x, tolerance=0.02)


def fitting(batch, side, mesh, dtype=jnp.bfloat16, radius=4):
    """Whether the attention and the guided filter of the default network fit, for a last stage of this side."""
    pictures = Columns(jax.ShapeDtypeStruct((batch, side, side // 2, 128), dtype), 2)
    slabs = jax.eval_shape(cut_slabs, pictures)
    q = jax.ShapeDtypeStruct((batch, (side // 4) ** 2, 64), dtype)
    return tpu_attend.fits(q, slabs, mesh), tpu_guided_filter.fits(pictures, radius, mesh)


def test_kernels_are_for_batches_that_the_chips_can_share(one_chip):
    eight = make_mesh(devices=jax.devices())
    assert fitting(8, 128, eight) == fitting(3, 128, one_chip) == (True, True)
    assert fitting(3, 128, eight) == (False, False)


@pytest.fixture
def chips(monkeypatch):
    """The mesh of a slice of TPUs that is not there."""
    if find_spec("libtpu") is None:
        pytest.skip("libtpu is for Linux on x86-64")
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    # What is compiled for absent devices cannot be read back, so it must not be kept.
    kept_from = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e6)
    yield lambda name: make_mesh(devices=describe_slice(name).devices)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", kept_from)


def test_kernels_are_for_pictures_that_the_chips_have_room_for(chips):
    for name in ("v5e:1x1", "v5p:2x2x1", "v6e:1x1"):
        assert fitting(8, 128, chips(name)) == (True, True)
        assert fitting(8, 512, chips(name)) == (False, False)
        assert fitting(8, 128, chips(name), radius=500) == (True, False)
    assert fitting(8, 128, chips("v4:2x2x1")) == (False, True)
    assert fitting(8, 128, chips("v4:2x2x1"), jnp.float32) == (False, False)


@pytest.mark.parametrize("name", ["v5e:1x1", "v4:2x2x1"])
def test_kernels_of_the_default_size_compile(chips, name):
    mesh = chips(name)
    batch, split = mesh.size, batch_sharding(mesh)

    def array(*shape, dtype=jnp.bfloat16):
        return jax.ShapeDtypeStruct((batch, *shape), dtype, sharding=split)

    scale = jax.ShapeDtypeStruct((64,), jnp.float32, sharding=replicated(mesh))
    picture, l, q, slabs = (
        Columns(array(128, 64, 128), 2),
        array(128, 128, 1, dtype=jnp.float32),
        array(1024, 64),
        array(8, 1024, 128),
    )

    def filtered(scale, x, l, g):
        y, pull_back = jax.vjp(lambda s, x: tpu_guided_filter.guided_filter(l, s, x, 4, 1e-3, mesh), scale, x)
        return y, pull_back(g)

    def attended(q, k, v, g):
        y, pull_back = jax.vjp(lambda *x: tpu_attend.attend(*x, mesh), q, k, v)
        return y, pull_back(g)

    jax.jit(filtered).lower(scale, picture, l, picture).compile()
    if tpu_attend.fits(q, slabs, mesh):
        cost = jax.jit(attended).lower(q, q, slabs, slabs).compile().cost_analysis()
        # Two products forwards, one of them with the values; five backwards, two of them with the values.
        assert cost["flops"] == pytest.approx(2 * 1024**2 * (4 * 64 + 3 * 1024), rel=0.1)


def test_an_option_that_the_compiler_does_not_know_is_left_out(chips, monkeypatch, caplog):
    mesh = chips("v5e:1x1")
    monkeypatch.setattr("palgan_jax.training.compile.TPU_OPTIONS", {"xla_tpu_of_another_year": "4"})
    x = jax.ShapeDtypeStruct((8, 128), jnp.float32, sharding=replicated(mesh))
    assert compile_step(jax.jit(lambda x: x + 1).lower(x), mesh).cost_analysis()
    assert "xla_tpu_of_another_year" in caplog.text


def strong(network, *arguments):
    """Variables whose values are large enough that all layers matter."""
    rng = np.random.default_rng(1)

    def value(path, leaf):
        noise = rng.normal(size=leaf.shape).astype(np.float32)
        inputs = leaf.size // leaf.shape[-1] if leaf.shape else 1
        return 1 + np.abs(noise) if path[-1].key == "var" else noise / np.sqrt(max(inputs, 4))

    return jax.tree_util.tree_map_with_path(value, dict(jax.eval_shape(network.init, KEY, *arguments)))


def painted(params, variables, net, l, h):
    (_, ab), updates = net.apply({**variables, "params": params}, l, h, True, mutable=["batch_stats", "spectral"])
    return jnp.sum(ab * normal(2, *ab.shape)), (ab, updates)


@pytest.mark.parametrize(
    ("norm", "attention", "local"),
    [
        ("spade", "local", "affine"),
        ("batch", "global", "guided"),
        ("instance", "self", "guided"),
        ("palette", "local", "guided_without_b"),
        ("palette", "none", "guided"),
    ],
)
def test_all_networks_paint_the_same(one_chip, norm, attention, local):
    net = PalGAN(width=TINY, norm=norm, attention=attention, local=local)
    l, h = 0.3 * normal(0, 2, 64, 64, 1), jax.nn.softmax(normal(1, 2, 256))
    variables = strong(net, l)
    for_tpus = net.clone(columns=2, tpus=one_chip)
    paint = jax.jit(painted, static_argnums=2)
    program = str(paint.trace(variables["params"], variables, for_tpus, l, h).jaxpr)
    _, (ab, updates) = paint(variables["params"], variables, for_tpus, l, h)
    _, (ab_too, updates_too) = paint(variables["params"], variables, net, l, h)
    assert float(jnp.std(ab)) > 1e-3
    assert program.count("pallas_call[") == (attention in ("global", "self"))
    np.testing.assert_allclose(ab, ab_too, atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), updates, updates_too)


def test_the_network_learns_the_same(one_chip):
    net = PalGAN(width=TINY)
    l, h = 0.3 * normal(0, 2, 64, 128, 1), jax.nn.softmax(normal(1, 2, 256))
    variables = strong(net, l)
    for_tpus = net.clone(columns=2, tpus=one_chip)
    learn = jax.jit(jax.grad(painted, has_aux=True), static_argnums=2)
    gradients, (ab, _) = learn(variables["params"], variables, for_tpus, l, h)
    program = str(jax.make_jaxpr(painted, static_argnums=2)(variables["params"], variables, for_tpus, l, h))
    assert program.count("pallas_call[") == 2
    expected, (ab_too, _) = learn(variables["params"], variables, net, l, h)
    np.testing.assert_allclose(ab, ab_too, atol=1e-4)
    largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * largest), gradients, expected)


def test_the_discriminator_judges_the_same():
    c, rgb, h = normal(0, 2, 64, 64, 2), normal(1, 2, 64, 64, 3), jax.nn.softmax(normal(2, 2, 256))
    net = ColorDiscriminator(TINY)
    variables = strong(net, c, rgb, h)
    assert_same_gradients(
        lambda params, c: net.clone(columns=4).apply({**variables, "params": params}, c, rgb, h),
        lambda params, c: net.apply({**variables, "params": params}, c, rgb, h),
        variables["params"], c,
    )  # fmt: skip


def test_programs_for_other_devices_have_none_of_it(mesh):
    config = load_config("configs/tiny.py")
    assert build_generator(config, mesh) == build_generator(config)
    assert build_discriminator(config, mesh) == build_discriminator(config)


def test_programs_for_tpus_have_the_kernels(chips):
    mesh = chips("v5e:2x2")
    config = load_config("configs/tiny.py", ["batch_size=8"])
    program = make_program(config, mesh, Phases(100, 50))
    kernels = "tpu_custom_call"
    assert lower_train(config, mesh, program).as_text().count(kernels) == 4  # each forwards and backwards
    assert lower_predict(config, mesh, program).as_text().count(kernels) == 2
