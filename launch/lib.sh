# shellcheck shell=bash
# What the launchers share: their arguments, the training command, and how commands are shown and run.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
# shellcheck source=launch/env.sh
source "$here/env.sh"

readonly BAD_INPUT=2 # of palgan and of the launchers: what another attempt cannot mend

say() { printf 'launch: %s\n' "$*" >&2; }

die() {
  say "$*"
  exit "$BAD_INPUT"
}

((BASH_VERSINFO[0] * 10 + BASH_VERSINFO[1] >= 44)) ||
  die "bash $BASH_VERSION is too old for the launchers: take 4.4 or newer, on macOS by brew install bash."

# need VARIABLE WHAT: ends the script in one sentence where a value of env.sh is missing.
need() { [[ -n ${!1} ]] || die "$1 is not set: put $2 into launch/env.sh or the environment."; }

need_program() {
  "$DRY_RUN" || command -v "$1" >/dev/null || die "$1 is not installed here: see $2."
}

# Sets PLACE, what every gcloud command about TPUs is given, once all that it takes is there.
# shellcheck disable=SC2034  # the launchers on TPU VMs give it
need_google_cloud() {
  need PALGAN_PROJECT "your Google Cloud project"
  need PALGAN_ZONE "a zone that has $PALGAN_ACCELERATOR"
  need PALGAN_BUCKET "the name of a bucket"
  need_program gcloud https://cloud.google.com/sdk/docs/install
  PLACE=("--project=$PALGAN_PROJECT" "--zone=$PALGAN_ZONE" --quiet)
}

# A command as one line that a shell takes as it is.
quoted() {
  local word line=
  for word; do
    [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]] || word=${word@Q}
    line+="${line:+ }$word"
  done
  printf '%s\n' "$line"
}

# Shows a command, and runs it unless --dry-run was given.
run() {
  if "$DRY_RUN"; then
    quoted "$@"
  else
    printf '+ %s\n' "$(quoted "$@")" >&2
    "$@"
  fi
}

# What gcloud says about a state: the state that the command prints, or MISSING where there is no such thing. Fails where gcloud
# cannot tell, for want of a network or a valid login, so that nothing is created, deleted or given up by mistake.
state_or_missing() {
  local errors state code=0
  if "$DRY_RUN"; then
    "$@"
    return
  fi
  errors=$(mktemp)
  if state=$("$@" 2>"$errors"); then
    echo "$state"
  elif grep -q NOT_FOUND "$errors"; then
    echo MISSING
  else
    cat "$errors" >&2
    code=1
  fi
  rm -f "$errors"
  return "$code"
}

# The name of a JobSet, and type and reason of each condition that holds: Completed or Failed when it has ended, and others on the
# way. Nothing where there is no such JobSet; fails where kubectl cannot tell.
jobset_conditions() {
  run kubectl get jobset "$PALGAN_NAME" --ignore-not-found \
    '--output=jsonpath={.metadata.name} {range .status.conditions[?(@.status=="True")]}{.type} {.reason} {end}'
}

# Whether such conditions are those of a JobSet that ended at once, by its policy for bad input.
refused_its_input() { [[ " $1 " == *" Failed FailJobSetFailurePolicyAction "* ]]; }

pause() { sleep "$PALGAN_POLL_SECONDS"; }

# Reads what all launchers take: sets DRY_RUN, ACTION (run, or one of the names given first) and MORE, what follows --.
# parse "delete attach" "$@": --delete and --attach are actions.
# shellcheck disable=SC2034  # the launchers ask for ACTION
parse() {
  local actions=" $1 "
  shift
  DRY_RUN=false ACTION=run MORE=()
  while (($#)); do
    case $1 in
      -h | --help)
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
      --dry-run) DRY_RUN=true ;;
      --)
        shift
        MORE=("$@")
        break
        ;;
      --*)
        [[ $actions == *" ${1#--} "* ]] || die "$1 is not an option of ${0##*/}: see --help."
        ACTION=${1#--}
        ;;
      *) die "$1 is not an option of ${0##*/}: see --help, and put what the training gets behind --." ;;
    esac
    shift
  done
  check_values
}

check_values() {
  [[ $PALGAN_NAME =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
    die "PALGAN_NAME=$PALGAN_NAME is no name for a job: take lower case letters, digits and dashes, at most 40."
  [[ -f $root/${PALGAN_CONFIG%%:*} || -f $root/configs/${PALGAN_CONFIG%%:*}.py ]] ||
    die "PALGAN_CONFIG=$PALGAN_CONFIG is no file of this repository, nor the name of one in configs/: take e.g. imagenet256."
  [[ $PALGAN_BUCKET != gs://* ]] || die "PALGAN_BUCKET=$PALGAN_BUCKET has a gs:// too many: give the bucket's name alone."
  [[ $PALGAN_ATTEMPTS =~ ^[1-9][0-9]*$ ]] || die "PALGAN_ATTEMPTS=$PALGAN_ATTEMPTS is no number above 0: take e.g. 50."
  [[ $PALGAN_SPOT == true || $PALGAN_SPOT == false ]] || die "PALGAN_SPOT=$PALGAN_SPOT is neither true nor false: choose one."
}

# Sets TRAIN, what each process of the run executes. training_command PYTHON
# Only the first process writes compiled programs down, so they lie where the others, and machines that are new, find them: in a
# WORKDIR that is a folder. With one in a bucket without a mount they stay on each machine's disk, where palgan keeps them.
training_command() {
  TRAIN=(env)
  [[ $PALGAN_WORKDIR == *://* ]] || TRAIN+=("JAX_COMPILATION_CACHE_DIR=$PALGAN_WORKDIR/compiled")
  TRAIN+=("$1" -m palgan_jax.main --config "$PALGAN_CONFIG" --workdir "$PALGAN_WORKDIR" --distributed=on)
  [[ $PALGAN_TFDS_DIR == none ]] || TRAIN+=("--config.data.tfds_dir=$PALGAN_TFDS_DIR")
  TRAIN+=(${MORE[@]+"${MORE[@]}"})
}
