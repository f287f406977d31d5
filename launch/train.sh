#!/usr/bin/env bash
# Runs a training command in the foreground, and exits with 0 only where the training is finished.
#
#   launch/train.sh python -m palgan_jax.main --config CONFIG --workdir WORKDIR
#
# SIGTERM makes the training save and exit with 0, as it does when it is finished; what begins a job again until it exits
# with 0 has to tell the two apart. So 0 becomes 143 (128 + SIGTERM), unless a line said that the training finished, or that
# there was nothing left to do. So does 2, bad input that no further attempt can mend, where a line said that another can:
# the data went away after a save, or other processes never came. Every other code is handed on.
set -euo pipefail

if (($# == 0)) || [[ $1 == -h || $1 == --help ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit "$(($# == 0 ? 2 : 0))"
fi

said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT

# Whoever stops the whole group stops this reader too, unless it does not listen; what the training says last would be lost.
exec 3> >(
  trap '' TERM INT HUP
  exec sed -u -E -e "/finished at step [0-9]|there is nothing left to do/w $said/finished" \
    -e "/stopped early and saved step [0-9]|start all of them again/w $said/again"
)
reader=$!
told=false training=''
tell() { told=true; [[ -z $training ]] || kill -TERM "$training" 2>/dev/null || true; }
trap tell TERM INT
"$@" >&3 2>&1 3>&- &
training=$!
exec 3>&-
! "$told" || tell

# A signal ends `wait`, not the training, which is saving then.
code=0
wait "$training" || code=$?
while kill -0 "$training" 2>/dev/null; do
  code=0
  wait "$training" || code=$?
done
if ((code == 75)); then code=143; fi
if ((code == 0 || code == 2)); then
  wait "$reader" || true
  if ((code == 0)) && [[ ! -s $said/finished ]]; then code=143; fi
  if ((code == 2)) && [[ -s $said/again ]]; then code=143; fi
fi
exit "$code"
