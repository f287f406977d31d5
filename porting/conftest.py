"""Settings of the comparison with PyTorch: both frameworks in one process, on the CPU."""

import importlib.util
import os
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

# Nothing here can run, or even be imported, without PyTorch.
collect_ignore = [] if importlib.util.find_spec("torch") else ["test_torch_parity.py"]
