"""The devices that a processor's cores are made into."""

import json
import os
import subprocess
import sys

SCRIPT = """
import json, os
import jax
from palgan_jax.distributed.mesh import make_cores_devices

os.sched_getaffinity = lambda pid: range(cores)
found = []
for cores, batch_size in ((6, None), (64, None), (6, 8), (6, 7), (3, 0)):
    jax.config.update("jax_num_cpu_devices", -1)
    make_cores_devices(batch_size)
    found.append(jax.config.jax_num_cpu_devices)
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=3"
jax.config.update("jax_num_cpu_devices", -1)
make_cores_devices(None)
found.append(jax.config.jax_num_cpu_devices)
del os.environ["XLA_FLAGS"]
jax.config.update("jax_num_cpu_devices", 2)
make_cores_devices(None)
print(json.dumps([*found, jax.device_count()]))
make_cores_devices(None)
"""


def test_cores_become_devices_unless_that_is_settled():
    environment = {
        name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")
    }
    environment["JAX_PLATFORMS"] = "cpu"
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=600
    )
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout) == [6, 8, 4, 1, 3, -1, 2]
