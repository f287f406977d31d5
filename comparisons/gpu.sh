#!/usr/bin/env bash
# Measures a GPU in at most eight minutes (comparisons/gpu.py), once what that takes is installed in .venv-gpu:
#
#   comparisons/gpu.sh [--json FILE] [--minutes N]
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv-gpu/bin/python
command -v nvidia-smi >/dev/null || echo "gpu.sh: there is no nvidia-smi here: JAX will measure another device." >&2
if [[ ! -e .venv-gpu/stamp ]]; then
  "${PYTHON:-python3}" -m venv --clear .venv-gpu
  "$python" -m pip install --quiet -c constraints.txt -e '.[train,cuda,perceptual]' torch==2.13.0
  touch .venv-gpu/stamp
fi
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
exec "$python" -m comparisons.gpu "$@"
