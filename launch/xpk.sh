#!/usr/bin/env bash
# Trains on a cluster that xpk made: one slice, begun again up to PALGAN_ATTEMPTS times, followed until it ends.
#
#   launch/xpk.sh --attach        once a cluster: makes the bucket a storage of the cluster, mounted at PALGAN_MOUNT
#   launch/xpk.sh [--dry-run] [-- --config.FIELD=VALUE ...]
#   launch/xpk.sh --delete        deletes the workload; the cluster, which costs money, stays
#
# The workload goes on when this script ends. To begin a run again, delete its workload first; the same PALGAN_WORKDIR goes on.
# Ends with 0 when finished, with 2 for bad input, with 1 where restarts did not help, or xpk could not tell. Values: launch/env.sh;
# PALGAN_PROJECT, PALGAN_ZONE, PALGAN_BUCKET, PALGAN_CLUSTER and PALGAN_IMAGE have to be given.
set -euo pipefail
# shellcheck source=launch/lib.sh
source "$(dirname "$0")/lib.sh"

main() {
  parse "attach delete" "$@"
  need PALGAN_PROJECT "your Google Cloud project"
  need PALGAN_ZONE "the cluster's zone"
  need PALGAN_CLUSTER "the cluster's name"
  need PALGAN_BUCKET "the name of a bucket"
  need_program xpk https://github.com/AI-Hypercomputer/xpk
  local cluster=("--cluster=$PALGAN_CLUSTER" "--project=$PALGAN_PROJECT" "--zone=$PALGAN_ZONE")
  case $ACTION in
    delete) run xpk workload delete "--workload=$PALGAN_NAME" "${cluster[@]}" ;;
    attach)
      # The size means nothing to a bucket, but xpk asks for one. Options: see launch/worker.sh.
      run xpk storage attach palgan "${cluster[@]}" --type=gcsfuse "--bucket=$PALGAN_BUCKET" \
        "--mount-point=$PALGAN_MOUNT" --readonly=false --auto-mount=false --size=100 --no-prefetch-metadata \
        --mount-options=implicit-dirs,rename-dir-limit=200000,metadata-cache:ttl-secs:0,metadata-cache:negative-ttl-secs:0
      ;;
    run)
      need PALGAN_IMAGE "the address of an image of launch/Dockerfile"
      training_command python
      # xpk begins nothing again unless told to, and then after 127 to 255 alone: 75 is stopped and saved, 1 a crash.
      run xpk workload create "--workload=$PALGAN_NAME" "${cluster[@]}" "--tpu-type=$PALGAN_ACCELERATOR" --num-slices=1 \
        "--docker-image=$PALGAN_IMAGE" --storage=palgan "--max-restarts=$PALGAN_ATTEMPTS" --restart-on-exit-codes=1,75 \
        --termination-grace-period-seconds=300 "--command=$(quoted "${TRAIN[@]}")"
      local code=0
      run xpk workload list "${cluster[@]}" "--wait-for-job-completion=$PALGAN_NAME" || code=$?
      # xpk says 125 of any end but success; its kubectl knows more.
      if ((code == 125)); then
        ! refused_its_input "$(jobset_conditions)" ||
          die "the training refused its input: see the sentence in its log, mend that, and give the same command again."
        code=1
      fi
      exit "$code"
      ;;
  esac
}

main "$@"
