#!/usr/bin/env bash
# Submits launch/slurm.sbatch: training on GPUs of one or more nodes of a SLURM cluster, queued again until it has finished.
#
#   launch/slurm.sh [--dry-run] [-- --config.FIELD=VALUE ...]
#   launch/slurm.sh --wait      as without, and stays until the job has ended, with its code; the job goes on without it
#   launch/slurm.sh --delete    cancels the job
#
# To be called on a login node, in a checkout that all nodes see, with .venv in it (README.md, the extra `cuda`).
# Values: launch/env.sh; PALGAN_MOUNT is the cluster's shared file system. The same command goes on where a run ended.
set -euo pipefail
# shellcheck source=launch/lib.sh
source "$(dirname "$0")/lib.sh"

main() {
  parse "delete wait" "$@"
  if [[ $ACTION == delete ]]; then
    need_program scancel https://slurm.schedmd.com
    run scancel "--name=$PALGAN_NAME" --me
    return
  fi
  need_program sbatch https://slurm.schedmd.com
  "$DRY_RUN" || [[ -d $PALGAN_MOUNT ]] ||
    die "PALGAN_MOUNT=$PALGAN_MOUNT is no folder here: name the shared file system, or a folder in it."
  training_command "$PALGAN_PYTHON"
  local more=()
  [[ $ACTION != wait ]] || more+=(--wait)
  [[ -z $PALGAN_PARTITION ]] || more+=("--partition=$PALGAN_PARTITION")
  [[ -z $PALGAN_ACCOUNT ]] || more+=("--account=$PALGAN_ACCOUNT")
  # One task a GPU: on SLURM JAX gives a process the GPU of its number on the node, and no other.
  run sbatch "--job-name=$PALGAN_NAME" "--chdir=$root" "--output=$PALGAN_NAME-%j.log" "--time=$PALGAN_TIME" \
    "--nodes=$PALGAN_NODES" "--ntasks-per-node=$PALGAN_GPUS_PER_NODE" "--gpus-per-node=$PALGAN_GPUS_PER_NODE" \
    "--cpus-per-task=$PALGAN_CPUS_PER_GPU" "--export=ALL,PALGAN_ATTEMPTS=$PALGAN_ATTEMPTS" ${more[@]+"${more[@]}"} \
    "$here/slurm.sbatch" "${TRAIN[@]}"
}

main "$@"
