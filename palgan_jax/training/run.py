"""A run between two steps, as the loop has it in hand."""

from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.config import Durations
from palgan_jax.data.device import DeviceBatches
from palgan_jax.data.train_batches import TrainBatches
from palgan_jax.training.compile import Program
from palgan_jax.training.data import LostPictures
from palgan_jax.training.finite import FiniteCheck
from palgan_jax.training.lease import Lease
from palgan_jax.training.metrics_file import MetricsWriter
from palgan_jax.training.outlook import Outlook
from palgan_jax.training.sample_sheets import SampleSheets
from palgan_jax.training.state import TrainState
from palgan_jax.training.timing import InputWatch, MetricsWindow
from palgan_jax.training.validation import Validation
from palgan_jax.training.workdir import Workdir
from palgan_jax.util.progress import Progress


@dataclass
class Run:
    """A run between two steps: the state, the parts that the loop uses, and how often it uses each."""

    config: ConfigDict
    workdir: Workdir
    durations: Durations
    step: int
    position: int  # samples that the pipeline had handed out by then, over all processes
    saved: int  # the latest step that is saved
    state: TrainState
    program: Program
    vgg: Any  # parameters of the perceptual network, or None
    pictures: TrainBatches
    batches: DeviceBatches  # of `pictures`, on the devices
    checkpoints: Checkpoints
    writer: MetricsWriter
    window: MetricsWindow
    progress: Progress
    validation: Validation | None
    sheets: SampleSheets | None
    lost: LostPictures
    finite: FiniteCheck
    input_watch: InputWatch
    outlook: Outlook
    lease: Lease | None  # process 0 alone

    def check_lease(self) -> None:
        """Raises UserError where another run has taken the working directory."""
        if self.lease is not None:
            self.lease.check()

    def every(self, steps: int) -> bool:
        """Returns True at multiples of `steps` and at the last step, and never where `steps` is 0."""
        return steps > 0 and (self.step % steps == 0 or self.step == self.durations.total)
