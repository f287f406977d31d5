"""The real tools that launchers call: where they are, and which tests need them."""

import os
import shutil
import subprocess

import pytest

from tests.support.places import ROOT

ENVIRONMENT = ROOT / ".venv-launchers" / "bin"
"""Where `make launchers` installs those that are Python packages."""

DEBIAN = "apt-get install slurmctld slurmd slurm-client munge"
INSTALL = {"gcloud": "https://cloud.google.com/sdk/docs/install", "kubectl": "https://kubernetes.io/docs/tasks/tools"}

takes_minutes = pytest.mark.skipif("LAUNCHERS" not in os.environ, reason="takes minutes: make launchers")


def needs(*names: str) -> pytest.MarkDecorator:
    """Skips a test where one of these programs is not installed, with what installs it."""
    missing = [name for name in names if find(name) is None]
    reason = ", ".join(f"no {name} ({_install(name)})" for name in missing)
    return pytest.mark.skipif(bool(missing), reason=reason)


def find(name: str) -> str | None:
    """Returns the path of a program, in the environment of `make launchers` or on the PATH."""
    return shutil.which(name, path=f"{ENVIRONMENT}:{os.environ.get('PATH', '')}:/usr/sbin")


def _install(name: str) -> str:
    return INSTALL.get(name, "make launchers" if name in ("xpk", "sky", "ray") else DEBIAN)


VERSIONS = {
    "gcloud": "--version", "kubectl": "version --client", "xpk": "version", "sky": "--version", "sbatch": "--version",
}  # fmt: skip


def main() -> None:
    """Prints the version of each tool that is there."""
    for name, words in VERSIONS.items():
        path = find(name)
        command = [path, *words.split()] if path else []
        output = subprocess.run(command, capture_output=True, text=True).stdout if path else "not installed"
        print(f"{name}: {' '.join(output.split())[:100]}")


if __name__ == "__main__":
    main()
