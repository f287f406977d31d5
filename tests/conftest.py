"""Settings and pictures that all tests share."""

import os
import signal

from tests.support.places import COMPILATION_CACHE, QUICK_COMPILATION, ROOT

# Eight CPU devices for every test: the 1-device tests use the first of them. Tests compile much and run little.
os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count=8 {QUICK_COMPILATION}")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from functools import partial
from pathlib import Path

import jax
import pytest
from absl import flags
from hypothesis import settings

LONGEST = (
    "faults/test_faults.py",
    "training/test_stopping.py",
    "training/test_step.py",
    "nn/ops/test_tpu.py",
    "test_configs.py",
    "evaluation/test_evaluate.py",
    "nn/test_networks.py",
    "benchmark/test_command.py",
    "export/test_onnx_model.py",
    "prepare/test_prepare.py",
    "pretrained/test_inception.py",
    "training/test_loop.py",
    "training/test_validation.py",
    "nn/test_parity.py",
    "test_comparisons.py",
    "distributed/test_join.py",
    "training/test_pretrained.py",
    "training/test_start.py",
    "training/test_memory.py",
    "evaluation/test_command.py",
    "web/test_static_page.py",
    "web/test_page.py",
    "finetune/test_finetune.py",
    "checkpoint/test_fuzz.py",
    "data/test_fuzz.py",
    "colorize/test_batch.py",
)
"""These files begin, so that no core is idle while the last one of them runs."""

jax.config.update("jax_compilation_cache_dir", str(COMPILATION_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
# A busy machine fails no test: how long things take is for benchmarks.
settings.register_profile("palgan", deadline=None, max_examples=40)
settings.load_profile("palgan")
# Jobs in the background of a shell ignore SIGINT; the processes that tests interrupt must not inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Grain reads absl flags when it starts worker processes.
flags.FLAGS.mark_as_parsed()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.relative_to(ROOT / "tests").as_posix(), len(order)))


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photographs (train/ and val/) that continuous integration has beside the checkout."""
    folder = ROOT.parent / "shared" / "data" / "photos"
    if not (folder / "train").is_dir():
        pytest.skip(f"needs the training photographs, which are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def samples() -> Path:
    """The bundled sample photographs."""
    return ROOT / "examples" / "samples"


@pytest.fixture(scope="module")
def one_device():
    """Training and evaluation in this process take one device, whose program is compiled sooner than that of eight."""
    from palgan_jax.distributed.mesh import make_mesh
    from palgan_jax.evaluation import evaluate
    from palgan_jax.training import prepare

    with pytest.MonkeyPatch.context() as patch:
        for module in (evaluate, prepare):
            patch.setattr(module, "make_mesh", partial(make_mesh, devices=jax.devices()[:1]))
        yield


@pytest.fixture(params=["cpu", "other devices"])
def each_platform(request, monkeypatch):
    """Computes here what other devices would."""
    if request.param != "cpu":
        monkeypatch.setattr(jax.lax, "platform_dependent", lambda *x, cpu, default, **_: default(*x))
