#!/usr/bin/env bash
# Trains on a queued resource until the training has finished: asks for the TPUs, waits until they are there, runs
# launch/tpu_vm.sh on them, and does so again whenever they were taken away or the training was stopped; then deletes them.
#
#   launch/queued_resource.sh [--dry-run] [-- --config.FIELD=VALUE ...]
#   launch/queued_resource.sh --delete    deletes the resource, which costs money from when it is ACTIVE until then
#
# The same command goes on after anything: with the resource, if it is there, and with the training, from its last save.
# Ends with 0 when finished, with 2 for bad input, with 1 after PALGAN_ATTEMPTS attempts. Values: launch/env.sh;
# PALGAN_PROJECT, PALGAN_ZONE and PALGAN_BUCKET have to be given; PALGAN_SPOT says whether TPUs are spot.
set -euo pipefail
# shellcheck source=launch/lib.sh
source "$(dirname "$0")/lib.sh"

was_there=false # whether the resource was, at any time of this run

main() {
  parse "delete" "$@"
  need_google_cloud
  if [[ $ACTION == delete ]]; then
    delete
  elif "$DRY_RUN"; then
    resource_state
    create
    "$here/tpu_vm.sh" --existing --dry-run -- ${MORE[@]+"${MORE[@]}"}
    delete
  else
    train_until_finished
  fi
}

queued() { run gcloud compute tpus queued-resources "$@" "${PLACE[@]}"; }

# --force deletes the TPU VM with it.
delete() { queued delete "$PALGAN_NAME" --force; }

# At the end, whose code is the training's.
delete_or_say() { delete || say "$PALGAN_NAME was not deleted and costs on: launch/queued_resource.sh --delete."; }

create() {
  local more=()
  ! "$PALGAN_SPOT" || more+=(--spot)
  [[ -z $PALGAN_VALID_UNTIL ]] || more+=("--valid-until-duration=$PALGAN_VALID_UNTIL")
  queued create "$PALGAN_NAME" "--node-id=$PALGAN_NAME" "--accelerator-type=$PALGAN_ACCELERATOR" \
    "--runtime-version=$PALGAN_RUNTIME" --scopes=https://www.googleapis.com/auth/cloud-platform ${more[@]+"${more[@]}"}
}

resource_state() { state_or_missing queued describe "$PALGAN_NAME" "--format=value(state.state)"; }

train_until_finished() {
  local attempt code
  for ((attempt = 1; attempt <= PALGAN_ATTEMPTS; attempt++)); do
    code=0
    attempt_once || code=$?
    case $code in
      0)
        delete_or_say
        say "finished after $attempt attempt(s); the run is in $PALGAN_WORKDIR of gs://$PALGAN_BUCKET."
        exit 0
        ;;
      "$BAD_INPUT")
        delete_or_say
        die "the training refused its input, as said above: mend that, and give the same command again."
        ;;
    esac
    say "attempt $attempt of $PALGAN_ATTEMPTS ended with $code; the next one goes on from the last checkpoint."
    pause
  done
  delete_or_say
  say "gave up after $PALGAN_ATTEMPTS attempts; the same command goes on."
  exit 1
}

attempt_once() {
  until_active || return 1
  "$here/tpu_vm.sh" --existing -- ${MORE[@]+"${MORE[@]}"}
}

# Returns when the TPUs are there; 1 where none were to be had, which counts as an attempt. What could be queued once can be
# again, so only the first refusal is bad input.
until_active() {
  local state before='' unknown=0
  while true; do
    if ! state=$(resource_state); then
      ((++unknown < PALGAN_ATTEMPTS)) ||
        die "gcloud does not say how $PALGAN_NAME is, for the reason above: mend that; it costs until --delete."
      pause
      continue
    fi
    unknown=0
    [[ $state == "$before" ]] || say "the queued resource $PALGAN_NAME is $state."
    before=$state
    [[ $state == MISSING ]] || was_there=true
    case $state in
      ACTIVE) return 0 ;;
      MISSING)
        if create; then
          was_there=true
        elif "$was_there"; then
          return 1
        else
          die "gcloud refused to queue $PALGAN_NAME, for the reason above: mend that."
        fi
        ;;
      FAILED | SUSPENDED)
        delete || true
        [[ $state != FAILED ]] || return 1
        ;;
    esac
    # ACCEPTED, WAITING_FOR_RESOURCES, CREATING, PROVISIONING; SUSPENDING and DELETING on the way to the others.
    pause
  done
}

main "$@"
