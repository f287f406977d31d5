#!/usr/bin/env bash
# Trains with SkyPilot, as a managed job (launch/sky.yaml) on GPUs or TPUs of any cloud, which comes back after preemptions.
#
#   launch/sky.sh [--dry-run] [-- --config.FIELD=VALUE ...]
#   launch/sky.sh --delete    cancels the job; `sky down` its controller, which costs money until then
#
# The job goes on when this script ends. The same command goes on where a run ended. Values: launch/env.sh; PALGAN_BUCKET has to be
# given, PALGAN_SKY_ACCELERATORS says on what.
set -euo pipefail
# shellcheck source=launch/lib.sh
source "$(dirname "$0")/lib.sh"

main() {
  parse "delete" "$@"
  need_program sky https://docs.skypilot.co
  if [[ $ACTION == delete ]]; then
    run sky jobs cancel "--name=$PALGAN_NAME" --yes
    return
  fi
  need PALGAN_BUCKET "the name of a bucket"
  training_command python
  local spot=--use-spot
  "$PALGAN_SPOT" || spot=--no-use-spot
  run sky jobs launch --yes "--name=$PALGAN_NAME" "--num-nodes=$PALGAN_NODES" "--gpus=$PALGAN_SKY_ACCELERATORS" "$spot" \
    "--workdir=$root" \
    "--env=PALGAN_BUCKET=$PALGAN_BUCKET" "--env=PALGAN_MOUNT=$PALGAN_MOUNT" "--env=PALGAN_COMMAND=$(quoted "${TRAIN[@]}")" \
    "$here/sky.yaml"
}

main "$@"
