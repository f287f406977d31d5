#!/usr/bin/env bash
# Trains on a Cloud TPU VM, on all machines of the slice: creates it unless it is there, sends what is committed of this
# repository, installs, mounts the bucket, starts the training and follows it.
#
#   launch/tpu_vm.sh [--dry-run] [-- --config.FIELD=VALUE ...]
#   launch/tpu_vm.sh --stop       SIGTERM to the training: it saves and ends; the VM stays
#   launch/tpu_vm.sh --delete     deletes the VM, which costs money until then
#   launch/tpu_vm.sh --existing   as without, on a VM that is there; never creates one
#
# The training goes on when this script or its connection ends; the same command finds and follows it again. A run that was
# stopped goes on where it ended. Ends with the training's code: 0 finished, 2 bad input, 75 stopped and saved; also with 75
# where the VM is gone or cannot be reached any more: the same command goes on. Values: launch/env.sh; PALGAN_PROJECT,
# PALGAN_ZONE and PALGAN_BUCKET have to be given.
set -euo pipefail
# shellcheck source=launch/lib.sh
source "$(dirname "$0")/lib.sh"

readonly GONE=75

main() {
  parse "stop delete existing" "$@"
  need_google_cloud
  case $ACTION in
    delete) delete ;;
    stop) on_workers all "bash palgan_jax/launch/worker.sh stop" ;;
    *)
      have_vm
      if ! training_runs; then
        # Whatever the code of gcloud, apt or uv: it says nothing about the training's input.
        if ! { send_and_install && begin; }; then
          say "the machines of $PALGAN_NAME were not made ready, for the reason above; the same command tries again."
          exit 1
        fi
      fi
      follow
      ;;
  esac
}

tpu() { run gcloud compute tpus tpu-vm "$@" "${PLACE[@]}"; }

delete() { tpu delete "$PALGAN_NAME"; }

on_workers() { tpu ssh "$PALGAN_NAME" "--worker=$1" "--command=$2"; }

vm_state() { state_or_missing tpu describe "$PALGAN_NAME" "--format=value(state)"; }

have_vm() {
  local state
  if "$DRY_RUN"; then
    vm_state
    [[ $ACTION == existing ]] || create
    return
  fi
  if ! state=$(vm_state); then
    # Not with 2, at which launch/queued_resource.sh deletes the VM.
    say "gcloud does not say how the TPU VM $PALGAN_NAME is, for the reason above: mend that, and give the same command again."
    exit 1
  fi
  [[ $state != READY ]] || return 0
  if [[ $ACTION == existing ]]; then
    say "there is no TPU VM $PALGAN_NAME that is ready ($state)."
    exit "$GONE"
  fi
  case $state in
    MISSING) ;;
    PREEMPTED | TERMINATED) delete ;; # a spot VM that was taken away never comes back
    STOPPED)
      die "the TPU VM $PALGAN_NAME is stopped: start it with gcloud compute tpus tpu-vm start, or delete it with --delete."
      ;;
    *) die "the TPU VM $PALGAN_NAME is $state: wait until it is READY, or delete it with --delete." ;;
  esac
  create
}

create() {
  local spot=()
  ! "$PALGAN_SPOT" || spot=(--spot)
  tpu create "$PALGAN_NAME" "--accelerator-type=$PALGAN_ACCELERATOR" "--version=$PALGAN_RUNTIME" \
    --scopes=https://www.googleapis.com/auth/cloud-platform ${spot[@]+"${spot[@]}"}
}

# What is said counts, here and below, and not the code of ssh, which gcloud may make its own of.
training_runs() {
  "$DRY_RUN" && return 1
  on_workers 0 "bash palgan_jax/launch/worker.sh look" 2>/dev/null | grep -q 'launch: the training runs'
}

send_and_install() {
  local archive=/tmp/palgan_jax.tar.gz
  if ! "$DRY_RUN"; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    archive=$scratch/palgan_jax.tar.gz
    [[ -z $(git -C "$root" status --porcelain --untracked-files=no) ]] || say "what is not committed is not sent."
  fi
  run git -C "$root" archive --format=tar.gz "--output=$archive" HEAD &&
    tpu scp "$archive" "$PALGAN_NAME:palgan_jax.tar.gz" --worker=all &&
    on_workers all "mkdir -p palgan_jax && tar -xzf palgan_jax.tar.gz -C palgan_jax && \
bash palgan_jax/launch/worker.sh install $(quoted "$PALGAN_BUCKET" "$PALGAN_MOUNT")"
}

begin() {
  training_command python
  on_workers all "bash palgan_jax/launch/worker.sh start $(quoted "${TRAIN[@]}")"
}

# All processes end together, so the first machine speaks for them.
follow() {
  local follow="bash palgan_jax/launch/worker.sh follow" line last code state lost=0 began heard
  if "$DRY_RUN"; then
    on_workers 0 "$follow"
    return
  fi
  while true; do
    began=$SECONDS code='' heard=false last=''
    while IFS= read -r line; do
      heard=true last=$line
      printf '%s\n' "$line" >&2
    done < <(on_workers 0 "$follow")
    # The last line is worker.sh's own, whatever the log of the training says before it.
    [[ $last != "launch: the training ended with "* ]] || code=${last##* }
    [[ -z $code ]] || exit "$code"
    # Without an answer it may train on, and cost: the network here may be what is lost.
    if state=$(vm_state) && [[ $state != READY ]]; then
      say "the TPU VM $PALGAN_NAME is gone; the same command begins another, which goes on from the last checkpoint."
      exit "$GONE"
    fi
    if "$heard" && ((SECONDS - began > 60)); then lost=0; fi
    if ((++lost > PALGAN_ATTEMPTS)); then
      say "the TPU VM $PALGAN_NAME cannot be reached, and costs until --delete: try gcloud compute tpus tpu-vm ssh."
      exit "$GONE"
    fi
    say "the connection was lost; the training goes on, and is looked for again."
    pause
  done
}

main "$@"
