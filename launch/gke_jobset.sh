#!/usr/bin/env bash
# Trains on a node pool of TPUs on GKE, as a JobSet (launch/jobset.yaml) that begins all pods again when one ends early, up
# to PALGAN_ATTEMPTS times; follows it until it ends.
#
#   launch/gke_jobset.sh [--dry-run] [-- --config.FIELD=VALUE ...]
#   launch/gke_jobset.sh --render    prints the JobSet, filled in
#   launch/gke_jobset.sh --delete    deletes the JobSet; the node pool, which costs money, stays
#
# The JobSet goes on when this script ends; the same command follows it again, or, when it has ended, begins another, which goes
# on from the last checkpoint. Ends with 0 when finished, with 2 for bad input, else with 1. Values: launch/env.sh; PALGAN_BUCKET and PALGAN_IMAGE have
# to be given, and kubectl's current context is the cluster.
set -euo pipefail
# shellcheck source=launch/lib.sh
source "$(dirname "$0")/lib.sh"

readonly FILLED_IN=(
  PALGAN_NAME PALGAN_ATTEMPTS PALGAN_BUCKET PALGAN_MOUNT PALGAN_IMAGE PALGAN_GKE_ACCELERATOR PALGAN_GKE_TOPOLOGY
  PALGAN_GKE_CHIPS_PER_HOST PALGAN_GKE_SERVICE_ACCOUNT HOSTS COMMAND
)

main() {
  parse "render delete" "$@"
  [[ $ACTION == render ]] || need_program kubectl https://kubernetes.io/docs/tasks/tools
  if [[ $ACTION == delete ]]; then
    run kubectl delete jobset "$PALGAN_NAME" --ignore-not-found
    return
  fi
  need PALGAN_BUCKET "the name of a bucket"
  need PALGAN_IMAGE "the address of an image of launch/Dockerfile"
  local manifest
  manifest=$(render)
  if [[ $ACTION == render ]]; then
    printf '%s\n' "$manifest"
  else
    begin "$manifest"
    follow
  fi
}

render() {
  local text name chips HOSTS COMMAND
  [[ $PALGAN_GKE_TOPOLOGY =~ ^[0-9]+(x[0-9]+)+$ ]] ||
    die "PALGAN_GKE_TOPOLOGY=$PALGAN_GKE_TOPOLOGY is no topology: take the node pool's, e.g. 4x4."
  [[ $PALGAN_GKE_CHIPS_PER_HOST =~ ^[1-9][0-9]*$ ]] ||
    die "PALGAN_GKE_CHIPS_PER_HOST=$PALGAN_GKE_CHIPS_PER_HOST is no number above 0: take e.g. 4."
  chips=$((${PALGAN_GKE_TOPOLOGY//x/ * }))
  HOSTS=$((chips / PALGAN_GKE_CHIPS_PER_HOST))
  ((HOSTS * PALGAN_GKE_CHIPS_PER_HOST == chips)) ||
    die "a topology of $PALGAN_GKE_TOPOLOGY has $chips chips, which machines of $PALGAN_GKE_CHIPS_PER_HOST do not make up."
  training_command python
  # shellcheck disable=SC2034  # found by its name below
  COMMAND=$(json_list "${TRAIN[@]}")
  text=$(<"$here/jobset.yaml")
  for name in "${FILLED_IN[@]}"; do
    # The quotes keep & in a value from meaning what was found.
    text=${text//"\${$name}"/"${!name}"}
  done
  printf '%s\n' "$text"
}

# Words as a list in JSON, which YAML reads too.
json_list() {
  local word list=
  for word; do
    word=${word//\\/\\\\}
    list+="${list:+, }\"${word//\"/\\\"}\""
  done
  printf '[%s]\n' "$list"
}

begin() {
  if "$DRY_RUN"; then
    jobset_conditions
    run kubectl apply --filename=- # launch/gke_jobset.sh --render prints what it reads
    return
  fi
  # One that has ended never runs again, and is in the way of the next.
  case " $(jobset_conditions) " in
    *" Completed "* | *" Failed "*) run kubectl delete jobset "$PALGAN_NAME" ;;
  esac
  run kubectl apply --filename=- <<<"$1"
}

follow() {
  local state unknown=0
  if "$DRY_RUN"; then
    jobset_conditions
    return
  fi
  say "see the log with: kubectl logs --follow --selector=batch.kubernetes.io/job-completion-index=0,jobset.sigs.k8s.io/jobset-name=$PALGAN_NAME --container=train"
  while true; do
    if state=$(jobset_conditions 2>/dev/null); then
      unknown=0
      if [[ -z $state ]]; then
        say "the JobSet $PALGAN_NAME was deleted; the same command begins another, which goes on from the last checkpoint."
        exit 1
      fi
    elif ((++unknown >= PALGAN_ATTEMPTS)); then
      say "kubectl does not say how $PALGAN_NAME is; it goes on without this script."
      exit 1
    fi
    case " $state " in
      *" Completed "*)
        say "finished; the run is in $PALGAN_WORKDIR of gs://$PALGAN_BUCKET."
        exit 0
        ;;
      *" Failed "*)
        ! refused_its_input "$state" ||
          die "the training refused its input: see the sentence in its log, mend that, and give the same command again."
        say "gave up after $PALGAN_ATTEMPTS restarts: see kubectl describe jobset $PALGAN_NAME."
        exit 1
        ;;
    esac
    pause
  done
}

main "$@"
