"""Folders of the checkout, and compiler flags that tests share."""

from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
COMPILATION_CACHE = ROOT / ".cache" / "jax-tests"

# XLA ends the process at a flag that it does not know: JAX 0.12 has lost that of the older emitters of fusions.
_OLDER_EMITTERS = "--xla_cpu_use_fusion_emitters=false "
_KNOWS_THEM = tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 12)
QUICK_COMPILATION = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    f"{_OLDER_EMITTERS if _KNOWS_THEM else ''}--xla_cpu_parallel_codegen_split_count=1"
)
