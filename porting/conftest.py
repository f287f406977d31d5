"""Settings of the comparison with PyTorch: both frameworks in one process, on the CPU."""

import importlib.util
import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Nothing here can run, or even be imported, without PyTorch.
collect_ignore = [] if importlib.util.find_spec("torch") else ["test_torch_parity.py"]
