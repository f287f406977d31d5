"""The training step and the prediction, as pure functions that factories make from a config."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding
from ml_collections import ConfigDict

from palgan_jax.color import bytes_to_signed, from_bytes, render
from palgan_jax.config import palette_spec
from palgan_jax.nn.build import activations_dtype
from palgan_jax.nn.palgan import reduced
from palgan_jax.nn.pretrained_palette_generator import CELLS
from palgan_jax.palette.histogram import histogram
from palgan_jax.training import losses
from palgan_jax.training.augmentation import jittered, recolored
from palgan_jax.training.discriminator_augmentation import moved_and_cut
from palgan_jax.training.film import partly_on_film
from palgan_jax.training.state import TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
Draws = dict[str, jax.Array]


def make_train_step(
    config: ConfigDict,
    generator: nn.Module,
    discriminator: nn.Module,
    g_tx: optax.GradientTransformation,
    d_tx: optax.GradientTransformation,
    gathered: NamedSharding | None = None,
) -> Callable[[TrainState, Batch, Any], tuple[TrainState, Metrics]]:
    """Returns step(state, batch, vgg) -> (state, metrics): one update of E + G and one of D, at the same time.

    The batch is data/device.py's: "rgb", uint8 (B, H, W, 3), sRGB, and, made of it, normalized l (B, H, W, 1) and
    c (B, H, W, 2) and the palette h (B, K). `vgg` holds the parameters of the perceptual network, or None where its
    weight is 0. `gathered` is where the parameters are wanted while they are used (with FSDP: on every device).
    Where the adversarial loss has no weight, D stays as it is.
    All losses come from one joint forward pass; its transpose is pulled back once for each player, so D is run once.
    """
    forward = _make_forward(config, generator, discriminator)

    def gradients(state: TrainState, batch: Batch, draws: Draws, vgg: Any) -> Any:
        params = (state.generator["params"], state.discriminator["params"])
        if gathered is not None:
            params = jax.lax.with_sharding_constraint(params, gathered)
        _, pull_back, (updates, metrics) = jax.vjp(
            lambda g, d: forward(g, d, state, batch, draws, vgg), *params, has_aux=True
        )
        g_grads, _ = pull_back((jnp.float32(1), jnp.float32(0)))
        _, d_grads = pull_back((jnp.float32(0), jnp.float32(1)))
        return (g_grads, d_grads), updates, metrics

    def accumulated(state: TrainState, batch: Batch, draws: Draws, vgg: Any) -> Any:
        if config.accumulate == 1:
            return gradients(state, batch, draws, vgg)

        # Every k-th picture, not blocks: each device keeps its own pictures and nothing has to move.
        def split(x: jax.Array) -> jax.Array:
            return x.reshape(-1, config.accumulate, *x.shape[1:]).swapaxes(0, 1)

        parts = jax.tree.map(split, (batch, draws))
        first = jax.tree.map(lambda x: x[0], parts)
        shapes = jax.eval_shape(lambda p: gradients(state, p[0], p[1], vgg), first)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

        def add(total: Any, part: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, gradients(state, part[0], part[1], vgg)), None

        total, _ = jax.lax.scan(add, zeros, parts)
        return jax.tree.map(lambda x: x / config.accumulate, total)

    def step(state: TrainState, batch: Batch, vgg: Any) -> tuple[TrainState, Metrics]:
        draws = _draw(config, state, batch["rgb"].shape[0])
        (g_grads, d_grads), (g_updates, d_updates), metrics = accumulated(state, batch, draws, vgg)
        g_delta, g_opt = g_tx.update(g_grads, state.g_opt, state.generator["params"])
        d_delta, d_opt = d_tx.update(d_grads, state.d_opt, state.discriminator["params"])
        g_params = optax.apply_updates(state.generator["params"], g_delta)
        d_params = optax.apply_updates(state.discriminator["params"], d_delta)
        # Early on a long average would hold little but the random start.
        decay = jnp.minimum(config.ema, (1.0 + state.step) / (10.0 + state.step))
        newest = {"params": g_params, "batch_stats": g_updates["batch_stats"]}
        metrics |= {"grad_norm/g": optax.tree.norm(g_grads), "grad_norm/d": optax.tree.norm(d_grads)}
        ema: Any = optax.incremental_update(newest, state.ema, 1 - decay)
        new_state = TrainState(
            step=state.step + 1,
            generator={"params": g_params, **g_updates},
            discriminator={"params": d_params, **d_updates},
            g_opt=g_opt,
            d_opt=d_opt,
            ema=ema,
            key=state.key,
        )
        return new_state, metrics

    return step


def _draw(config: ConfigDict, state: TrainState, batch_size: int) -> Draws:
    """Draws the random numbers of one step, for the whole batch, so that `accumulate` does not change them."""

    def key(use: int) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(state.key, use), state.step)

    draws = {}
    if config.predicted_share > 0:
        draws["use_predicted"] = jax.random.bernoulli(key(3), config.predicted_share, (batch_size,))
    if config.model == "vae":
        draws["code"] = jax.random.normal(key(4), (batch_size, config.palette.bins**2))
    if config.net.palette_dropout > 0:
        draws["keys"] = jax.random.split(key(5), batch_size)
    if config.data.luminance_jitter > 0:
        draws["tone"] = jax.random.uniform(key(6), (batch_size, 3))
    if config.recolored_share > 0:
        draws["recolor"] = jax.random.uniform(key(7), (batch_size, 4))
    if config.data.film_share > 0:
        draws["film"] = jax.random.uniform(key(8), (batch_size, 5))
        draws["grain"] = jax.random.split(key(9), batch_size)
    if config.loss.adversarial > 0 and config.discriminator_augmentation != "none":
        draws["view"] = jax.random.uniform(key(10), (batch_size, 4))
    return draws


def _make_forward(config: ConfigDict, generator: nn.Module, discriminator: nn.Module) -> Callable[..., Any]:
    """Returns forward(g_params, d_params, state, batch, draws, vgg).

    It returns ((L_G, L_D), ((g_updates, d_updates), metrics)): the two losses, and what the networks update besides.
    """
    spec, weight, dtype = palette_spec(config), config.loss, activations_dtype(config)

    def forward(g_params, d_params, state: TrainState, batch: Batch, draws: Draws, vgg: Any):
        if "film" in draws:
            batch = partly_on_film(batch, draws["film"], draws["grain"], config.data.film_share, spec, config.ab_range)
        l, h = batch["l"], batch["h"]  # (B, H, W, 1), (B, K)
        if "tone" in draws:
            l = jittered(l, draws["tone"], config.data.luminance_jitter)
        # What G paints, and the palette it belongs to: H and W may be smaller here than what E sees.
        small_l, c = reduced(l, config.net.paint_stride), reduced(batch["c"], config.net.paint_stride)
        palettes = h
        if "recolor" in draws:
            c, palettes = _recolored(config, small_l, c, h, draws)
        g_variables = {**state.generator, "params": g_params}
        code, terms = _code(config, generator, g_variables, l, c, palettes, draws)
        (h_hat, c_hat), g_updates = generator.apply(
            g_variables, l, code, True, draws.get("use_predicted"), draws.get("keys"),
            mutable=["batch_stats", "spectral", CELLS],
        )  # (B, K), (B, H, W, 2)  # fmt: skip
        terms |= _palette_terms(config, h_hat, h, g_updates, batch["c"])
        terms["l1"] = weight.l1 * losses.COLOR_LOSSES[weight.color_kind](c_hat, c)
        if weight.consistency:
            painted_with = palettes
            if "use_predicted" in draws:
                painted_with = jnp.where(draws["use_predicted"][:, None], jax.lax.stop_gradient(h_hat), palettes)
            terms["consistency"] = weight.consistency * losses.palette_consistency(c_hat, painted_with, spec)

        rgb = bytes_to_signed(batch["rgb"])  # (B, H, W, 3)
        if draws.keys() & {"tone", "recolor", "film"} or config.net.paint_stride > 1:
            rgb = render(small_l, c, config.ab_range, config.render_leak)
        rgb_hat = render(small_l, c_hat, config.ab_range, config.render_leak)  # (B, H, W, 3), [-1, 1] in gamut
        if weight.perceptual:
            terms["perceptual"] = weight.perceptual * losses.perceptual(vgg, rgb_hat, rgb, dtype=dtype)
        loss_d, d_updates, logits = jnp.float32(0), state.discriminator, {}
        if weight.adversarial:
            colors, pictures = (c, c_hat), (rgb, rgb_hat)
            if "view" in draws:
                change = partial(moved_and_cut, draws=draws["view"])
                colors, pictures = jax.tree.map(change, (colors, pictures))
            d_variables = {**state.discriminator, "params": d_params}
            (real, fake), d_updates = _judge(discriminator, d_variables, colors, pictures, palettes, dtype)
            terms["adversarial"] = weight.adversarial * losses.hinge_generator(fake)
            loss_d = losses.hinge_discriminator(real, fake)
            logits = {"logit/real": jnp.mean(real), "logit/fake": jnp.mean(fake)}
        loss_g = sum(terms.values(), jnp.float32(0))

        metrics = {f"loss/{name}": value for name, value in terms.items()}
        metrics |= {"loss/g": loss_g, "loss/d": loss_d, **logits}
        g_updates = {"batch_stats": g_updates.get("batch_stats", {}), "spectral": g_updates.get("spectral", {})}
        return (loss_g, loss_d), ((g_updates, {"spectral": d_updates.get("spectral", {})}), metrics)

    return forward


def _recolored(
    config: ConfigDict, l: jax.Array, c: jax.Array, h: jax.Array, draws: Draws
) -> tuple[jax.Array, jax.Array]:
    """Changes the colors c (B, H, W, 2) of a share of the pictures, and their palettes h (B, K) with them.

    Pictures that are painted with the predicted palette stay as they are, since that palette is of their own colors.
    """
    is_recolored = draws["recolor"][:, 0] < config.recolored_share
    if "use_predicted" in draws:
        is_recolored &= ~draws["use_predicted"]
    recolored_c = recolored(l, c, draws["recolor"][:, 1:], config.ab_range)
    h = jnp.where(is_recolored[:, None], histogram(recolored_c, palette_spec(config)), h)
    return jnp.where(is_recolored[:, None, None, None], recolored_c, c), h


def _code(
    config: ConfigDict, generator: nn.Module, g_variables: Any, l: jax.Array, c: jax.Array, h: jax.Array, draws: Draws
) -> tuple[jax.Array | None, Metrics]:
    """Returns what G paints with, (B, K) or None for its own prediction, and the terms of L_G that belong to it."""
    if config.model == "autoencoder":
        return None, {}
    if config.model == "vae":
        posterior: Any = generator.apply(g_variables, l, c, method="posterior")
        mean, log_variance = posterior  # (B, K) each
        kl = config.loss.kl * losses.kl_from_standard_normal(mean, log_variance)
        return mean + jnp.exp(0.5 * log_variance) * draws["code"], {"kl": kl}
    return h, {}


def _palette_terms(config: ConfigDict, h_hat: jax.Array, h: jax.Array, g_updates: Any, c: jax.Array) -> Metrics:
    """Returns the terms of L_G that compare palettes, (B, K) and those of cells, with those of c (B, H, W, 2)."""
    weight, terms = config.loss, {}
    if config.model == "palgan":
        terms["palette"] = weight.palette * losses.PALETTE_LOSSES[weight.palette_kind](h_hat, h)
        if weight.entropy:
            terms["entropy"] = -weight.palette * weight.entropy * losses.palette_entropy(h_hat)
    if weight.cells:
        cells = g_updates[CELLS]["palette_generator"]["palettes"]  # (B, H/32, W/32, K)
        terms["cells"] = weight.cells * losses.cell_palettes(cells, c, palette_spec(config))
    return terms


def _judge(
    discriminator: nn.Module,
    d_variables: Any,
    c: tuple[jax.Array, jax.Array],
    rgb: tuple[jax.Array, jax.Array],
    h: jax.Array,
    dtype: Any,
) -> tuple[tuple[jax.Array, jax.Array], Any]:
    """Returns D's logits of real and fake pictures, of which c and rgb are pairs, and its updated vectors."""

    # Interleaved, not concatenated: a picture and its fake stay on the same device.
    def pair(real: jax.Array, fake: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
        return jnp.stack([real, fake], axis=1).reshape(-1, *real.shape[1:]).astype(dtype)  # (2B, ...)

    color_type = dtype or jnp.float32  # D's first convolution would round colors to it anyway
    logits, d_updates = discriminator.apply(
        d_variables, pair(*c, color_type), pair(*rgb, color_type), pair(h, h), True, mutable=["spectral"]
    )
    return (logits[0::2], logits[1::2]), d_updates


def make_predict(config: ConfigDict, generator: nn.Module) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Returns predict(variables, rgb, palette=None) -> (h_hat (B, K), normalized ab (B, H, W, 2)).

    rgb is uint8 (B, H, W, 3); only its luminance is used. palette (B, K) takes the place of the predicted one.
    """

    def predict(variables: Any, rgb: jax.Array, palette: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        l, _ = from_bytes(rgb, config.ab_range)
        return generator.apply(variables, l, palette)  # type: ignore[return-value]

    return predict
