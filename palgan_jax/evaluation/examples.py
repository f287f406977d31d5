"""Paints single photographs for the report."""

import jax
import numpy as np

from palgan_jax.colorize.join import join, luminance
from palgan_jax.distributed.mesh import make_mesh
from palgan_jax.evaluation.measure import Programs
from palgan_jax.evaluation.photographs import Photographs
from palgan_jax.evaluation.record import Example
from palgan_jax.evaluation.systems import System
from palgan_jax.metrics.measure import Networks


def local_programs(system: System) -> Programs:
    """Returns programs that paint on one device of this process, since the others do not take part in drawing."""
    return Programs(make_mesh(devices=jax.local_devices()[:1]), system, Networks(), ())


def paint_example(photographs: Photographs, i: int, programs: Programs) -> Example:
    """Reads and paints photograph number i. `programs`: of devices of this process alone."""
    batch = photographs.alone(i, programs.batch_multiple)
    predicted, palettes = programs.paint(batch)
    truth = batch["truth"][0]
    gray = join(luminance(truth), np.zeros((1, 1, 2), np.float32))
    return Example(gray, predicted[0], truth, None if palettes is None else palettes[0])
