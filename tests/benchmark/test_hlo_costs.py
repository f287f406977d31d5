"""What a compiled program says of itself, beside programs whose operations, bytes and collectives are known."""

import math

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from palgan_jax.benchmark import hlo, hlo_costs
from palgan_jax.benchmark.cost import cost_of
from palgan_jax.benchmark.topology import PEAKS
from palgan_jax.distributed.mesh import batch_sharding, make_mesh, replicated

DEVICES = 8


def compiled(function, *shapes, places=None, result=None, dtype=jnp.float32):
    places = places or [None] * len(shapes)
    arguments = [
        jax.ShapeDtypeStruct(shape, dtype, sharding=place) for shape, place in zip(shapes, places, strict=True)
    ]
    return jax.jit(function, out_shardings=result).lower(*arguments).compile()


def parsed(program) -> hlo.Module:
    return hlo.parse(program.as_text())


def collectives(program) -> list[hlo_costs.Collective]:
    return hlo_costs.collectives(parsed(program), DEVICES)


def matrix_flops(module: hlo.Module) -> int:
    runs = [(module.computations.get(name, {}), times) for name, times in module.runs.items()]
    return sum(
        times * hlo_costs.matrix_flops(i, computation) for computation, times in runs for i in computation.values()
    )


# --------------------------------------------------------------------------------------------------------- collectives


def test_a_sum_over_devices_is_one_all_reduce_of_its_result():
    mesh = make_mesh()
    program = compiled(lambda x: x.sum(0), (16, 1000), places=[batch_sharding(mesh)], result=replicated(mesh))
    (result,) = collectives(program)
    assert (result.kind, result.bytes, result.devices, result.times) == ("all-reduce", 4000, DEVICES, 1)
    assert result.sent == 2 * 7 / 8 * 4000
    assert "reduce_sum" in result.op_name


def test_gathering_is_one_all_gather_of_the_whole():
    mesh = make_mesh()
    program = compiled(lambda x: x + 1, (16, 1000), places=[batch_sharding(mesh)], result=replicated(mesh))
    (result,) = collectives(program)
    assert (result.kind, result.bytes, result.devices) == ("all-gather", 64000, DEVICES)
    assert result.sent == 7 / 8 * 64000


def test_a_sum_over_one_axis_of_a_mesh_is_among_its_devices_alone():
    mesh = make_mesh(data=2, fsdp=4)
    rows = NamedSharding(mesh, PartitionSpec("fsdp"))
    program = compiled(lambda x: x.sum(0), (16, 1000), places=[rows], result=replicated(mesh))
    (result,) = collectives(program)
    assert (result.kind, result.bytes, result.devices) == ("all-reduce", 4000, 4)


def test_a_collective_in_a_loop_counts_each_run():
    mesh = make_mesh()

    def loop(x):
        return jax.lax.scan(lambda total, row: (total + row.sum(0), None), jnp.zeros(1000), x)[0]

    split = NamedSharding(mesh, PartitionSpec(None, ("data", "fsdp")))
    program = compiled(loop, (5, 16, 1000), places=[split], result=replicated(mesh))
    runs = [(c.kind, c.bytes * c.times) for c in collectives(program)]
    assert parsed(program).uncounted_loops == 0
    assert runs in ([("all-reduce", 4000 * 5)], [("all-reduce", 4000)])  # XLA may sum after the loop
    assert max(parsed(program).runs.values()) == 5


@pytest.mark.parametrize(
    ("groups", "devices"),
    [
        ("{{0,1},{2,3},{4,5},{6,7}}", 2),
        ("[2,4]<=[8]", 4),
        ("[2,4]<=[4,2]T(1,0)", 4),
        ("mesh['axis_0'=4,'axis_1'=2] {'axis_0'}", 4),
        ("mesh['axis_0'=4,'axis_1'=1,'axis_2'=2], device_ids=([2,4]T(1,0)) {'axis_0','axis_2'}", 8),
        ("{}", DEVICES),
    ],
)
def test_the_ways_in_which_xla_writes_groups_of_devices(groups, devices):
    text = f"""
ENTRY %main (p: f32[10]) -> f32[10] {{
  %p = f32[10]{{0}} parameter(0)
  ROOT %r = f32[10]{{0}} all-reduce(%p), channel_id=1, replica_groups={groups}, to_apply=%add
}}
"""
    (result,) = hlo_costs.collectives(hlo.parse(text), DEVICES)
    assert (result.kind, result.bytes, result.devices) == ("all-reduce", 40, devices)


# ---------------------------------------------------------------------------------------------------- operations, bytes


def test_operations_of_a_product_of_matrices():
    program = compiled(lambda a, b: a @ b, (30, 40), (40, 50))
    assert matrix_flops(parsed(program)) == 2 * 30 * 40 * 50


def convolution(x, kernel, **options):
    return jax.lax.conv_general_dilated(x, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (1, 1), "padding": "VALID"},
        {"window_strides": (2, 2), "padding": "SAME"},
        {"window_strides": (1, 1), "padding": ((1, 2), (2, 1)), "lhs_dilation": (2, 2)},
        {"window_strides": (1, 1), "padding": "SAME", "rhs_dilation": (3, 3)},
    ],
    ids=lambda options: "-".join(options),
)
def test_operations_of_convolutions_are_those_that_xla_counts(options):
    program = compiled(lambda x, k: convolution(x, k, **options), (2, 17, 19, 5), (3, 3, 5, 7))
    assert matrix_flops(parsed(program)) == program.cost_analysis()["flops"]


def test_each_run_of_a_loop_counts_where_xla_counts_one():
    def loop(x, w):
        return jax.lax.scan(lambda c, _: (jnp.tanh(c @ w), None), x, None, length=6)[0]

    program = compiled(loop, (64, 64), (64, 64))
    cost = cost_of(program, images=2, devices=1, compile_seconds=0.0)
    cost_of_one = 2 * 64**3
    assert program.cost_analysis()["flops"] < 2 * cost_of_one
    assert 6 * cost_of_one <= cost.flops < 6.5 * cost_of_one
    assert cost.bytes >= 6 * 3 * 64 * 64 * 4
    assert cost.uncounted_loops == 0


def test_traffic_by_layer_adds_up_to_what_xla_says():
    def two(x, w):
        with jax.named_scope("first"):
            y = jnp.tanh(x @ w)
        with jax.named_scope("second"):
            return y @ w

    program = compiled(two, (256, 256), (256, 256))
    traffic = hlo_costs.traffic(parsed(program))
    assert [t.layer for t in traffic if t.bytes >= 3 * 256 * 256 * 4][:2] == ["first", "second"]
    total = sum(t.bytes for t in traffic)
    assert total == pytest.approx(program.cost_analysis()["bytes accessed"], rel=0.02)
    assert total == sum(t.main for t in traffic)
    assert hlo_costs.buffers(parsed(program))[0].size == 256 * 256 * 4


def test_memory_and_rooflines():
    program = compiled(lambda a, b: a @ b, (1024, 1024), (1024, 1024))
    cost = cost_of(program, images=4, devices=1, compile_seconds=1.5)
    figures, peaks = cost.figures(PEAKS["v5e"]), PEAKS["v5e"]
    assert figures["hbm_gib"]["arguments"] * 2**30 == 2 * 4 * 2**20
    assert figures["gflop_per_image"] == 2 * 1024**3 / 4 / 1e9
    expected = max(2 * 1024**3 / peaks.flops, cost.bytes / peaks.bandwidth)
    assert figures["roofline_step_ms"] == pytest.approx(expected * 1e3)
    assert figures["images_per_second_per_chip"] == pytest.approx(4 / expected)
    assert figures["limited_by"] == "memory" and figures["collectives"] == {}


# ------------------------------------------------------------------------------------------- the text of TPU programs


@pytest.mark.parametrize(
    ("shape", "size", "payload", "space"),
    [
        ("f32[8,3]{1,0:T(8,128)}", 8 * 128 * 4, 8 * 3 * 4, 0),
        ("f32[8,3]{0,1:T(4,128)S(1)}", 4 * 128 * 4, 8 * 3 * 4, 1),
        ("bf16[32,16,6,4]{1,3,2,0:T(4,128)(2,1)}", 32 * 6 * 4 * 128 * 2, 32 * 16 * 6 * 4 * 2, 0),
        ("f32[]{:T(128)}", 128 * 4, 4, 0),
        ("pred[10]{0}", 10, 10, 0),
        ("s4[10]", 5, 5, 0),
    ],
)
def test_sizes_of_arrays_with_their_tiles(shape, size, payload, space):
    (array,) = hlo.parse_arrays(shape)
    assert (array.size, array.payload, array.space) == (size, payload, space)
    assert shape.startswith(array.text)


TEXT = """
HloModule jit_step, is_scheduled=true

%fused (p: f32[8,128]) -> f32[8,128] {
  %p = f32[8,128]{1,0:T(8,128)} parameter(0)
  ROOT %inner = f32[8,128]{1,0:T(8,128)} exponential(%p)
}

ENTRY %main (a: f32[8,128], b: f32[4,8,128]) -> f32[8,128] {
  %a = f32[8,128]{1,0:T(8,128)} parameter(0), metadata={op_name="state.ema['x']"}
  %b = f32[4,8,128]{2,1,0:T(8,128)} parameter(1), metadata={op_name="state.ema['y']"}
  %slice-start = ((f32[4,8,128]{2,1,0:T(8,128)}), f32[1,8,128]{2,1,0:T(8,128)S(1)}, s32[]{:S(2)}) slice-start(%b), slice={[0:1], [0:8], [0:128]}
  %slice-done = f32[1,8,128]{2,1,0:T(8,128)S(1)} slice-done(%slice-start)
  %copy-start = (f32[8,128]{1,0:T(8,128)S(1)}, f32[8,128]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%a)
  %copy-done = f32[8,128]{1,0:T(8,128)S(1)} copy-done(%copy-start)
  ROOT %out = f32[8,128]{1,0:T(8,128)} fusion(%copy-done), kind=kLoop, calls=%fused, metadata={op_name="jit(step)/transpose(jvp(PalGAN))/block_0/conv_0/mul"}
}
"""  # noqa: E501


def test_copies_and_slices_under_way_are_counted_once_and_named_after_what_they_move():
    block = 8 * 128 * 4
    traffic = {t.layer: (t.bytes, t.main, t.instructions) for t in hlo_costs.traffic(hlo.parse(TEXT))}
    assert traffic["PalGAN/block_0/conv_0, backward"] == (2 * block, block, 1)
    assert traffic["copy of state.ema"] == (2 * block, block, 1)
    assert traffic["slice of state.ema"] == (2 * block, block, 1)


@pytest.mark.parametrize(
    ("op_name", "layer"),
    [
        ("jit(step)/jvp(G)/attention/cond/branch_0_fun/jit(_resize)/dot", "G/attention"),
        ("jit(step)/jvp(PalGAN)/palette_generator/conv_0/conv_general_dilated", "PalGAN/palette_generator/conv_0"),
        ("jit(step)/transpose(jvp(PalGAN))/stem/mul", "PalGAN/stem, backward"),
        ("jit(step)/jvp(PalGAN)/conv/jit(leaky_relu)/jit(_where)/select_n", "PalGAN/conv"),
        ("state.g_opt[0].mu['stem']['kernel']", "state.g_opt"),
        ("jit(step)/add", "add"),
    ],
)
def test_the_layer_of_an_operation(op_name, layer):
    assert hlo_costs.layer_of(op_name) == layer


def test_peaks_are_those_of_the_pages_they_name():
    for name, peaks in PEAKS.items():
        assert peaks.source.endswith(f"/{name}")
        assert math.log10(peaks.flops) > 14 and peaks.bandwidth < peaks.flops and peaks.sending * 2 == peaks.links
