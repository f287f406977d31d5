"""Our training step and prediction, ready to be timed beside another's."""

import argparse
from typing import Any

import jax
import numpy as np

from palgan_jax.config import Phases, default_config, palette_spec
from palgan_jax.data.device import lab_batch
from palgan_jax.nn.build import build_discriminator, build_generator
from palgan_jax.training.optimizers import make_optimizers
from palgan_jax.training.state import init_state
from palgan_jax.training.step import make_train_step
from tests.support.golden_recipe import uniform

STEPS = 1000  # of the learning rate's schedule; none is reached


class Ours:
    """The training step and the prediction as the package makes them, of noise that is the same on each machine.

    `options` has width, batch, resolution, perceptual and precision ("float32" or "bfloat16").
    """

    def __init__(self, options: argparse.Namespace, vgg: Any):
        config = default_config()
        config.net.width = config.discriminator.width = options.width
        config.batch_size, config.resolution = options.batch, options.resolution
        config.loss.perceptual = float(options.perceptual)
        config.precision = options.precision
        generator, discriminator = build_generator(config), build_discriminator(config)
        transformations = make_optimizers(config, Phases(STEPS, STEPS))

        def start(key: jax.Array) -> Any:
            return init_state(key, generator, discriminator, *transformations, options.resolution)

        self.state = jax.jit(start)(jax.random.key(0))
        rgb = uniform("benchmark", (options.batch, options.resolution, options.resolution, 3), 0, 256).astype(np.uint8)
        self.batch = jax.jit(lambda rgb: lab_batch(rgb, palette_spec(config), config.ab_range))(rgb)
        self.variables = jax.tree.map(np.array, self.state.generator)
        self.judge = jax.tree.map(np.array, self.state.discriminator)
        self.vgg = vgg
        self.step = jax.jit(make_train_step(config, generator, discriminator, *transformations), donate_argnums=0)
        self.predict = jax.jit(lambda variables, l: generator.apply(variables, l))

    def train(self) -> float:
        self.state, metrics = self.step(self.state, self.batch, self.vgg)
        return float(jax.block_until_ready((self.state, metrics))[1]["loss/g"])

    def colorize(self) -> np.ndarray:
        return np.asarray(self.predict(self.variables, self.batch["l"])[1])
