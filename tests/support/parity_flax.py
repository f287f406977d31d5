"""Runs the cases of parity_cases with this package's networks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from palgan_jax.color import lab_to_rgb, render, rgb_to_lab
from palgan_jax.config import default_config, palette_spec
from palgan_jax.data.device import lab_batch
from palgan_jax.nn import ColorDiscriminator, PaletteAssignmentGenerator, PaletteGenerator, PalGAN
from palgan_jax.nn.attention import ChromaticAttention
from palgan_jax.nn.build import build_discriminator, build_generator
from palgan_jax.nn.norms import PalNorm
from palgan_jax.palette.histogram import entropy, hellinger, histogram
from palgan_jax.palette.regions import Regions
from palgan_jax.palette.spec import PaletteSpec
from palgan_jax.training import losses
from palgan_jax.training.state import init_state
from palgan_jax.training.step import make_train_step
from tests.support import golden_recipe as recipe
from tests.support.parity_cases import Case, Result, direction, draw_inputs

MODULES = {
    "palette_generator": PaletteGenerator,
    "assignment_generator": PaletteAssignmentGenerator,
    "palgan": PalGAN,
    "discriminator": ColorDiscriminator,
    "norm": PalNorm,
    "attention": ChromaticAttention,
}
ARGUMENTS = {"discriminator": ("ab", "rgb", "h"), "norm": ("x", "h", "l"), "attention": ("s", "f", "l")}

# Machine code that is not optimized: the arithmetic is the same, and compiling takes half the time.
QUICK: Any = {"xla_backend_optimization_level": 0}


def run(case: Case, salt: int, mode: str) -> Result:
    """Outputs, gradients and updated state of a case."""
    if case.kind == "step":
        return _run_step(case, salt)
    if case.kind == "functions":
        return _run_functions(case, salt)
    inputs, train = draw_inputs(case, salt), mode == "train"
    module: Any = MODULES[case.kind](**case.options)
    shapes = jax.eval_shape(lambda key: module.init(key, *_arguments(case.kind, inputs, False)), jax.random.key(0))
    variables = recipe.weights(shapes)

    def total(params: Any, inputs: dict[str, jax.Array]) -> tuple[jax.Array, Any]:
        out, state = module.apply(
            {**variables, "params": params},
            *_arguments(case.kind, inputs, train),
            mutable=["batch_stats", "spectral"] if train else [],
        )
        outputs = _named(case.kind, out)
        products = [jnp.sum(array * direction(name, array.shape)) for name, array in outputs.items()]
        return sum(products, jnp.float32(0)), (outputs, state)

    compiled = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True), compiler_options=QUICK)
    (params, by_input), (outputs, state) = compiled(variables.get("params", {}), inputs)
    gradients = {**recipe.flatten(params, "params"), **recipe.flatten(by_input)}
    return Result(recipe.flatten(outputs), gradients, recipe.flatten(state))


def _arguments(kind: str, i: dict[str, Any], train: bool) -> tuple[Any, ...]:
    """The positional arguments of a module's call."""
    if kind == "palette_generator":
        return (i["l"],)
    if kind == "assignment_generator":
        h = i["h"] if "h" in i else Regions(i["palettes"], i["shares"])
        return i["l"], [i["m1"], i["m2"], i["m3"], i["m4"]], h, train
    if kind == "palgan":
        return i["l"], None, train
    return *(i[name] for name in ARGUMENTS[kind]), train


def _named(kind: str, out: Any) -> dict[str, jax.Array]:
    """A module's outputs by name."""
    if kind == "palette_generator":
        return {"h": out[0], **{f"m{k + 1}": tap for k, tap in enumerate(out[1])}}
    return {"h": out[0], "ab": out[1]} if kind == "palgan" else {"out": out}


def _run_functions(case: Case, salt: int) -> Result:
    def total(inputs: dict[str, jax.Array]) -> tuple[jax.Array, Any]:
        outputs = {
            name: function(*(x for path, x in inputs.items() if path.split("/")[0] == name))
            for name, function in FUNCTIONS.items()
        }
        products = [jnp.sum(array * direction(name, array.shape)) for name, array in outputs.items()]
        return sum(products, jnp.float32(0)), outputs

    gradients, outputs = jax.jit(jax.grad(total, has_aux=True), compiler_options=QUICK)(draw_inputs(case, salt))
    return Result(recipe.flatten(outputs), recipe.flatten(gradients), {})


def _palette_loss(h_hat: jax.Array, h: jax.Array) -> jax.Array:
    return losses.palette_l1(h_hat, h) - 0.01 * losses.palette_entropy(h_hat)


FUNCTIONS: dict[str, Callable[..., jax.Array]] = {
    "rgb_to_lab": rgb_to_lab,
    "lab_to_rgb": lab_to_rgb,
    "render": render,
    "render_leak": partial(render, leak=0.1),
    "histogram": histogram,
    "histogram_gaussian": partial(histogram, spec=PaletteSpec(kernel="gaussian", sigma=0.15)),
    "histogram_max": partial(histogram, spec=PaletteSpec(normalization="max", bins=8)),
    "histogram_hard": partial(histogram, spec=PaletteSpec(kernel="hard")),
    "entropy": entropy,
    "hellinger": hellinger,
    "discriminator_loss": losses.hinge_discriminator,
    "adversarial_loss": losses.hinge_generator,
    "l1_loss": losses.color_l1,
    "palette_loss": _palette_loss,
    "palette_kl": losses.palette_kl,
    "palette_hellinger": losses.palette_hellinger,
    "consistency_loss": partial(losses.palette_consistency, spec=PaletteSpec()),
    "kl_loss": losses.kl_from_standard_normal,
}


def _run_step(case: Case, salt: int) -> Result:
    """One training step of the public factory; optimizers that keep the gradients as they are show what they got."""
    config = default_config()
    config.net.width = config.discriminator.width = case.options["width"]
    config.resolution = case.inputs["rgb"][1][1]
    config.loss.perceptual = 0.0  # test_perceptual compares it with PyTorch
    config.loss.consistency = 0.5
    keep = optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params),
        lambda grads, _state, _params=None: (jax.tree.map(jnp.zeros_like, grads), grads),
    )
    generator, discriminator = build_generator(config), build_discriminator(config)
    shapes = jax.eval_shape(
        lambda key: init_state(key, generator, discriminator, keep, keep, config.resolution), jax.random.key(0)
    )
    g, d = recipe.weights(shapes.generator), recipe.weights(shapes.discriminator)
    ema = {"params": g["params"], "batch_stats": g["batch_stats"]}
    state = shapes.replace(
        step=jnp.int32(0), generator=g, discriminator=d, g_opt=g["params"], d_opt=d["params"], ema=ema,
        key=jax.random.key(0),
    )  # fmt: skip
    step = make_train_step(config, generator, discriminator, keep, keep)

    def from_picture(state: Any, rgb: jax.Array) -> Any:
        return step(state, lab_batch(rgb, palette_spec(config), config.ab_range), None)

    after, metrics = jax.jit(from_picture, compiler_options=QUICK)(state, draw_inputs(case, salt)["rgb"])
    gradients = {**recipe.flatten(after.g_opt, "g"), **recipe.flatten(after.d_opt, "d")}
    g_kept = {collection: after.generator[collection] for collection in ("batch_stats", "spectral")}
    kept_state = {"g": g_kept, "d": {"spectral": after.discriminator["spectral"]}}
    return Result(recipe.flatten(dict(metrics)), gradients, recipe.flatten(kept_state))
