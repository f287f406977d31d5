#!/usr/bin/env bash
# What launch/tpu_vm.sh runs on each machine of a TPU VM, through ssh, in the copy of the repository there.
#
#   launch/worker.sh install BUCKET MOUNT   Python, the requirements, the bucket as a folder; quick where they are there
#   launch/worker.sh start COMMAND...       the command in the background: it goes on when the connection ends
#   launch/worker.sh look                   says whether it runs
#   launch/worker.sh follow                 its log, until it ends; the last line is its exit code
#   launch/worker.sh stop                   SIGTERM to it, and waits until it has saved and ended
#
# State is kept in ~/palgan_run: log, pid and code.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
state=$HOME/palgan_run
mkdir -p "$state"

install() {
  local bucket=$1 mount=$2
  export PATH=$HOME/.local/bin:$PATH
  # TPU VMs come with Python 3.10; uv brings its own.
  command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
  [[ -x .venv/bin/python ]] || uv venv --quiet --python 3.11 .venv
  uv pip install --quiet --python .venv/bin/python -c constraints.txt -e '.[train,tpu,perceptual,gcs]'
  if ! command -v gcsfuse >/dev/null; then
    local list=/etc/apt/sources.list.d/gcsfuse.list key=/usr/share/keyrings/cloud.google.asc
    curl -fsSL https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee "$key" >/dev/null
    echo "deb [signed-by=$key] https://packages.cloud.google.com/apt gcsfuse-$(lsb_release -cs) main" |
      sudo tee "$list" >/dev/null
    # A machine that has just been started installs updates of its own.
    sudo apt-get -qq -o DPkg::Lock::Timeout=600 update
    sudo apt-get -qq -o DPkg::Lock::Timeout=600 install -y gcsfuse
  fi
  if ! mountpoint -q "$mount"; then
    sudo mkdir -p "$mount"
    sudo chown "$(id -u):$(id -g)" "$mount"
    # A checkpoint is a folder that gets its name when it is whole, and other machines look for it at once: so folders may
    # be renamed, and nothing is believed about files from before.
    gcsfuse --implicit-dirs --rename-dir-limit=200000 \
      --metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0 "$bucket" "$mount"
  fi
}

runs() { [[ -s $state/pid && ! -s $state/code ]] && kill -0 "$(<"$state/pid")" 2>/dev/null; }

until_it_ends() { while runs; do sleep 0.3; done; }

look() { if runs; then echo "launch: the training runs on $(hostname)"; fi; }

start() {
  if runs; then
    look
    return
  fi
  rm -f "$state/code"
  export PATH=$PWD/.venv/bin:$PATH
  # shellcheck disable=SC2016  # for the shell that is begun
  setsid nohup bash -c 'code=0; "${@:2}" || code=$?; echo "$code" > "$1"' - "$state/code" "$@" \
    >>"$state/log" 2>&1 </dev/null &
  echo $! >"$state/pid"
  echo "launch: the training was started on $(hostname)"
}

follow() {
  until_it_ends &
  tail -n 20 -F -s 0.3 --pid=$! "$state/log" 2>/dev/null || true
  local code=137 # no code was written: it was killed, or its machine was started anew
  if [[ -s $state/code ]]; then code=$(<"$state/code"); fi
  echo "launch: the training ended with $code"
}

stop() {
  if runs; then
    # The training itself, and not what writes its code down.
    pkill -TERM -P "$(<"$state/pid")" || true
    until_it_ends
  fi
}

case ${1:-} in
  install | start | look | follow | stop) "$@" ;;
  *)
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    [[ ${1:-} == -h || ${1:-} == --help ]] || exit 2
    ;;
esac
