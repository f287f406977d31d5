# shellcheck shell=bash
# What a run is, for every launcher of this folder. A value in the environment comes before the one written here:
#   PALGAN_NAME=second PALGAN_ZONE=us-central1-a launch/tpu_vm.sh
# Empty ones have to be given where a launcher needs them; it names the one that is missing.

# ---- the run
: "${PALGAN_NAME:=palgan}"                        # of its machines, jobs and folder: lower case, digits and dashes, at most 40
: "${PALGAN_CONFIG:=imagenet256}"                 # the name of one in configs/, or a file of this repository
: "${PALGAN_ATTEMPTS:=50}"                        # how often a run that was stopped is begun again before giving up
: "${PALGAN_POLL_SECONDS:=30}"                    # between two looks at what cloud or cluster are doing

# ---- storage: a folder that all processes of the run see under the same path
: "${PALGAN_BUCKET:=}"                            # on Google Cloud: NAME, not gs://NAME; mounted at PALGAN_MOUNT
: "${PALGAN_MOUNT:=/mnt/palgan}"                  # where the bucket appears; on SLURM: the shared file system
: "${PALGAN_WORKDIR:=$PALGAN_MOUNT/runs/$PALGAN_NAME}"   # the same --workdir goes on where the run ended
# Prepared sets (palgan prepare); records of gs:// are read without the mount. "none" for configs that need no such set.
: "${PALGAN_TFDS_DIR:=${PALGAN_BUCKET:+gs://$PALGAN_BUCKET/tensorflow_datasets}}"
: "${PALGAN_TFDS_DIR:=$PALGAN_MOUNT/tensorflow_datasets}"

# ---- Google Cloud
: "${PALGAN_PROJECT:=}"
: "${PALGAN_ZONE:=}"                              # one with such TPUs, e.g. us-west4-a
: "${PALGAN_ACCELERATOR:=v5litepod-16}"           # TPU VM, queued resource, xpk
: "${PALGAN_RUNTIME:=v2-alpha-tpuv5-lite}"        # v5p: v2-alpha-tpuv5, v6e: v2-alpha-tpuv6e
: "${PALGAN_SPOT:=true}"                          # cheaper, and taken away at any time: the run goes on from its last save
: "${PALGAN_VALID_UNTIL:=}"                       # how long a queued resource may wait, e.g. 6h; empty: for ever
: "${PALGAN_IMAGE:=}"                             # of launch/Dockerfile, in a registry: xpk and GKE
: "${PALGAN_CLUSTER:=}"                           # xpk: the cluster's name (kubectl has its own idea of the current one)
: "${PALGAN_GKE_ACCELERATOR:=tpu-v5-lite-podslice}"   # GKE: the label gke-tpu-accelerator of the node pool
: "${PALGAN_GKE_TOPOLOGY:=4x4}"                   # GKE: its label gke-tpu-topology
: "${PALGAN_GKE_CHIPS_PER_HOST:=4}"               # GKE: chips of one of its machines
: "${PALGAN_GKE_SERVICE_ACCOUNT:=default}"        # GKE: Kubernetes' one that may write to the bucket

# ---- SLURM and SkyPilot
: "${PALGAN_NODES:=1}"
: "${PALGAN_GPUS_PER_NODE:=8}"
: "${PALGAN_CPUS_PER_GPU:=8}"                     # decode pictures: docs/data.md says how many it takes
: "${PALGAN_TIME:=24:00:00}"                      # of one SLURM job; the next one goes on
: "${PALGAN_PARTITION:=}"                         # empty: the cluster's default
: "${PALGAN_ACCOUNT:=}"
: "${PALGAN_PYTHON:=.venv/bin/python}"            # on SLURM; elsewhere the launcher installs one
: "${PALGAN_SKY_ACCELERATORS:=A100:8}"            # of a node, e.g. tpu-v5litepod-16
