"""Every config: what it computes makes one real training step, and its small variant is one that a laptop trains."""

from itertools import permutations
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from palgan_jax.config import Phases, default_config, flatten, load_config, palette_spec
from palgan_jax.data.decode import read_rgb
from palgan_jax.data.device import lab_batch
from palgan_jax.errors import UserError
from palgan_jax.nn.build import build_discriminator, build_generator
from palgan_jax.nn.efficientnet_lite0 import parameters_of_blocks
from palgan_jax.pretrained.vgg_alexnet import VGG16_CONVS
from palgan_jax.training import step as training_step
from palgan_jax.training.discriminator_augmentation import moved_and_cut
from palgan_jax.training.optimizers import make_optimizers
from palgan_jax.training.state import init_state
from palgan_jax.training.step import make_train_step
from tests.support.places import ROOT

ABLATIONS = {  # row -> the fields it changes
    "autoencoder": {"model": "autoencoder"},
    "vae": {"model": "vae"},
    "self_attention": {"net.attention": "self"},
    "patch_discriminator": {"discriminator.kind": "patch"},
    "batch_norm": {"net.norm": "batch"},
    "spade": {"net.norm": "spade"},
    "no_entropy": {"loss.entropy": 0.0},
    "attention_none": {"net.attention": "none"},
    "attention_local": {"net.attention": "local"},
    "attention_global": {"net.attention": "global"},
}
RIVALS = {
    "first_reading": {"net.guide": "convolution", "render_leak": 1.0, "discriminator.palette": "plain"},
    "palette_chain": {"palette.normalization": "max", "net.normalize_palette": False, "net.palette_scale": 1.0},
    "hellinger": {"loss.palette_kind": "hellinger"},
    "pretrained": {"net.encoder": "efficientnet_lite0"},
}
FILES = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "ablations")
RECIPES = ("pretrained:gpu", "pretrained:paint,gpu", "imagenet256:pretrained")
NAMES = [*FILES, *(f"ablations:{row}" for row in ABLATIONS), "pretrained:paint", *RECIPES]
TOGETHER = (
    ("autoencoder", "patch_discriminator", "attention_global"),
    ("vae", "attention_none"),
    ("batch_norm", "attention_local", "no_entropy"),
    ("spade", "self_attention"),
)
"""Rows that change different parts are tried by one program, since what these tests cost is compilation."""


def load(name, variant=""):
    file, _, row = name.partition(":")
    return load_config(f"{file}:{','.join(filter(None, (row, variant)))}")


@pytest.fixture(scope="module")
def pictures():
    files = sorted((ROOT / "examples" / "photos").glob("*.jpg"))[:2]
    return np.stack([np.asarray(Image.fromarray(read_rgb(f)).resize((64, 64))) for f in files])


def one_step(config, rgb, vgg=None):
    """Runs one step: the state before and after it, and its metrics."""
    # Narrower still, and two pictures.
    config.net.width = config.discriminator.width = 1 / 16
    config.batch_size = len(rgb)
    batch = lab_batch(jnp.asarray(rgb), palette_spec(config), config.ab_range)
    generator, discriminator = build_generator(config), build_discriminator(config)
    g_tx, d_tx = make_optimizers(config, Phases(10, 5))
    abstract = jax.eval_shape(
        lambda key: init_state(key, generator, discriminator, g_tx, d_tx, config.resolution),
        jax.random.key(config.seed),
    )
    state = _filled(abstract)
    step = jax.jit(make_train_step(config, generator, discriminator, g_tx, d_tx))
    # Without the compiler's last effort: the step is run once.
    compiled = step.lower(state, batch, vgg).compile(compiler_options={"xla_backend_optimization_level": 0})
    return state, *compiled(state, batch, vgg)


def _filled(abstract):
    """A state of these shapes: the initializers would take as long to compile as the step."""
    rng = np.random.default_rng(0)

    def leaf(path, spec):
        name = jax.tree_util.keystr(path)
        if jax.dtypes.issubdtype(spec.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        if "opt" in name or "mean" in name or not np.issubdtype(spec.dtype, np.floating):
            return np.zeros(spec.shape, spec.dtype)
        if "var" in name or "sigma" in name:
            return np.ones(spec.shape, spec.dtype)
        return rng.normal(0, 0.1, spec.shape).astype(spec.dtype)

    return jax.tree_util.tree_map_with_path(leaf, abstract)


OUTSIDE = {"total", "seed", "keep", "best", "ema", "tensorboard", "net.width", "discriminator.width"} | {
    f"{name}_every" for name in ("log", "eval", "checkpoint", "sheet")
}
"""Fields that say how long and how wide, not what is computed."""


def generator_terms(metrics):
    return [float(v) for name, v in metrics.items() if name.startswith("loss/") and name not in ("loss/g", "loss/d")]


def check(before, after, metrics, fixed=(), networks=("generator", "discriminator")):
    """Asserts that all kernels of the networks learn, but those whose path holds a word of `fixed`: these stay."""
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    assert after.step == 1
    assert metrics["loss/g"] == pytest.approx(sum(generator_terms(metrics)), rel=1e-5)
    # Kernels only: the discriminator's last biases get -1 from the real pictures and +1 from the fakes.
    for name in networks:
        old, new = (getattr(state, name)["params"] for state in (before, after))
        kernels = [
            (f"['{name}']{jax.tree_util.keystr(path)}", leaf, is_changed)
            for (path, leaf), is_changed in zip(
                jax.tree_util.tree_leaves_with_path(old), jax.tree.leaves(new), strict=True
            )
            if "kernel" in jax.tree_util.keystr(path)
        ]
        assert len(kernels) > 4
        for path, leaf, is_changed in kernels:
            assert leaf.dtype == is_changed.dtype == np.float32
            assert (leaf != is_changed).any() == (not any(f"['{word}']" in path for word in fixed)), path


@pytest.mark.parametrize("rows", TOGETHER, ids=" ".join)
def test_ablations_make_a_step(rows, pictures):
    config = load("coco256", "runlocal")
    config.palette.bins = 8  # no ablation, but another size of all that a palette feeds
    config.update_from_flattened_dict({field: value for row in rows for field, value in ABLATIONS[row].items()})
    check(*one_step(config, pictures))


def test_all_ablations_are_tried():
    assert sorted(row for rows in TOGETHER for row in rows) == sorted(ABLATIONS)


def random_vgg():
    """Weights of the perceptual loss, which the small variants leave out, and the large configs do not."""
    rng, vgg, channels = np.random.default_rng(0), {}, 3
    for name, width in VGG16_CONVS:
        kernel = rng.normal(0, (2 / (9 * channels)) ** 0.5, (3, 3, channels, width)).astype(np.float32)
        vgg[name] = {"kernel": kernel, "bias": np.zeros(width, np.float32)}
        channels = width
    return vgg


def test_the_recipes_for_accelerators_make_a_step_in_bfloat16(pictures, monkeypatch):
    """That of the paper's scale learns all; the second run of the bundled model on a GPU, G and what leads to it.

    That "pretrained" trains from the published encoder, and small variants in float32, is tried by whole runs.
    """
    config = load("imagenet256", "pretrained")
    assert config.precision == "bfloat16" and config.batch_size == 64
    config.resolution = 64
    before, after, metrics = one_step(config, pictures, random_vgg())
    check(before, after, metrics)
    assert all(metrics[f"loss/{term}"] > 0 for term in ("palette", "cells", "perceptual")) and metrics["loss/d"] > 0

    config = load("pretrained", "paint,gpu")
    assert config.precision == "bfloat16" and config.batch_size == 32
    config.resolution = 64
    config.data.film_share = 0.5
    # A discriminator that sees all pictures alike, real and painted, judges them alike.
    config.loss.adversarial, config.discriminator_augmentation = 0.1, "translation_cutout"
    monkeypatch.setattr(training_step, "moved_and_cut", lambda x, draws: jnp.ones_like(moved_and_cut(x, draws)))
    before, after, metrics = one_step(config, pictures)
    check(before, after, metrics, fixed=("encoder", "picture", "cell"), networks=["generator"])
    assert metrics["logit/real"] == metrics["logit/fake"] != 0


@pytest.mark.parametrize("name", [name for name in FILES if name != "pretrained"])
def test_the_small_variants_of_files_differ_only_outside_the_program(name):
    """So that one that makes a step stands for all."""
    fields, expected = flatten(load(name, "runlocal")), flatten(load("tiny", "runlocal"))
    differing = {field for field in expected if fields[field] != expected[field]}
    assert differing <= OUTSIDE | {field for field in expected if field.startswith(("data.", "mesh.", "optim."))}


@pytest.mark.parametrize("name", NAMES)
def test_the_small_variant_needs_only_what_is_bundled_wherever_one_stands(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = load(name, "runlocal")
    for folder in (config.data.train, config.data.val):
        assert any(Path(folder.removeprefix("folder:")).glob("*.jpg"))
    assert config.loss.perceptual == 0
    assert config.net.width <= 1 / 8
    assert config.resolution == 64


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_variant_is_one_sentence(name):
    with pytest.raises(UserError, match="no variant 'runlocla'"):
        load(name, "runlocla")


@pytest.mark.parametrize("variant", ["pretrained:paint,gpu,runlocal", "imagenet256:pretrained,runlocal"])
def test_the_words_of_a_variant_stand_in_any_order(variant):
    name, _, words = variant.partition(":")
    for order in permutations(words.split(",")):
        assert load_config(f"{name}:{','.join(order)}") == load_config(variant)


def test_each_ablation_is_one_change_of_the_default_and_the_others_are_named():
    with pytest.raises(UserError, match=f"no ablation 'spaed': .* one of palgan, {', '.join(RIVALS | ABLATIONS)}"):
        load("ablations:spaed")
    assert load("ablations:palgan") == load("coco256")
    for variant in ("", "runlocal", "photographs"):
        default = flatten(load("ablations:palgan", variant))
        for row, changes in (ABLATIONS | RIVALS).items():
            fields = flatten(load(f"ablations:{row}", variant))
            assert {name: value for name, value in fields.items() if value != default[name]} == changes


def test_the_second_run_of_the_pretrained_model_trains_g_alone():
    first, second = load("pretrained"), load("pretrained", "paint")
    assert first.loss.palette > 0 and first.loss.cells > 0
    assert second.loss.palette == second.loss.cells == second.optim.weight_decay == 0
    assert not parameters_of_blocks(second.net.frozen_blocks)
    assert second.net.palette_dropout == first.net.palette_dropout and second.predicted_share == first.predicted_share


def test_on_a_gpu_the_second_run_sees_larger_batches_at_rates_for_them():
    """The square root scaling rule of Malladi et al., 2022, definition 5.1: k = batch / batch."""
    changes = {}
    for run in ("", "paint"):
        fields, small = (
            flatten(load("pretrained", ",".join(filter(None, (run, "gpu"))))),
            flatten(load("pretrained", run)),
        )
        changes[run] = {name: (small[name], value) for name, value in fields.items() if value != small[name]}
    assert changes[""] == {"precision": ("float32", "bfloat16")}
    paint = changes["paint"]
    k = paint["batch_size"][1] / paint["batch_size"][0]
    assert paint["optim.g_lr"][1] == pytest.approx(k**0.5 * paint["optim.g_lr"][0])
    for name in ("optim.b1", "optim.b2", "ema"):
        before, after = paint[name]
        assert 1 - after == pytest.approx(k * (1 - before))
    assert {n for n in paint if not n.endswith("_every")} == {
        "precision", "batch_size", "total", "optim.g_lr", "optim.b1", "optim.b2", "ema",
    }  # fmt: skip


def test_imagenet_with_the_pretrained_encoder_changes_what_belongs_to_the_palette():
    fields, paper = flatten(load("imagenet256", "pretrained")), flatten(load("imagenet256"))
    changes = {name: value for name, value in fields.items() if value != paper[name]}
    assert changes.pop("net.encoder") == "efficientnet_lite0"
    assert set(changes) == {
        "loss.palette", "loss.palette_kind", "loss.cells", "loss.entropy", "optim.encoder_rate", "optim.encoder_from",
    }  # fmt: skip
    config = flatten(load("pretrained"))
    assert all(changes[name] == config[name] for name in changes if name != "optim.encoder_from")


@pytest.mark.parametrize("name", ["imagenet256", "coco256"])
def test_the_papers_runs_are_the_default_model(name):
    """Whatever else they set, networks, losses and palette are those of the method."""
    fields, default = flatten(load(name)), flatten(default_config())
    for field, value in default.items():
        if field.startswith(("net.", "discriminator.", "loss.", "palette.", "optim.")) or field in (
            "model",
            "resolution",
        ):
            assert fields[field] == value, field
