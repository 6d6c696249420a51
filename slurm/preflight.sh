#!/bin/bash
# Says whether this node is fit to train: GPUs, disk, interconnect, clock. slurm/pretrain_1b.sh runs it once per node.
#
#   slurm/preflight.sh RUN_DIR FIT_DIR SECONDS_SINCE_1970
#
# Prints what is wrong and ends with 1, or creates FIT_DIR/NODE.0 and ends with 0. Thresholds: see slurm/site.env.example.
set -euo pipefail
trap '' TERM # of preemption: a check that was cut short would blame the node

run_dir=$1
fit_dir=$2
started_at=$3
node=${SLURMD_NODENAME:-$(hostname)}
fit=yes

bad() {
  echo "$node: $*"
  fit=
}

check_gpus() {
  local expected=${SLURM_GPUS_ON_NODE:-0} found=0 index used temperature errors
  command -v nvidia-smi >/dev/null || return 0
  while IFS=', ' read -r index used temperature errors; do
    found=$((found + 1))
    ((used <= ${NULLS_MAX_GPU_MB:-1000})) || bad "GPU $index: $used MB are in use, by another job"
    ((temperature <= ${NULLS_MAX_GPU_C:-85})) || bad "GPU $index: $temperature degrees C"
    [[ $errors != [1-9]* ]] || bad "GPU $index: $errors uncorrected memory errors"
  done < <(timeout 60 nvidia-smi --format=csv,noheader,nounits \
    --query-gpu=index,memory.used,temperature.gpu,ecc.errors.uncorrected.volatile.total)
  ((found >= expected)) || bad "$found GPUs, not $expected"
}

check_space() { # FOLDER GB
  local free
  free=$(df --output=avail -k "$1" | tail -n 1)
  ((free >= $2 * 1000 * 1000)) || bad "$1: $((free / 1000 / 1000)) GB are free, not $2"
}

check_disk() {
  local probe
  if probe=$(mktemp -p "$run_dir" .preflight.XXXXXX) && echo "$node" >"$probe" && [[ $(<"$probe") == "$node" ]]; then
    rm -f "$probe"
    check_space "$run_dir" "${NULLS_MIN_RUN_GB:-1}"
  else
    bad "$run_dir cannot be written"
  fi
  check_space "${TMPDIR:-/tmp}" "${NULLS_MIN_TMP_GB:-1}"
}

check_interconnect() {
  local expected=${NULLS_IB_PORTS:-0} active
  active=$(cat /sys/class/infiniband/*/ports/*/state 2>/dev/null | grep -c ACTIVE || true)
  ((active >= expected)) || bad "$active InfiniBand ports are up, not $expected"
}

check_clock() { # the hang watch and all logs compare times of different nodes
  local ahead=$(($(date +%s) - started_at))
  ((ahead >= -30 && ahead <= 90)) || bad "the clock is $ahead s ahead of the first node's"
}

check_gpus
check_disk
check_interconnect
check_clock
if [[ ${NULLS_NODE_CHECK:-} ]]; then
  timeout 300 bash -c "$NULLS_NODE_CHECK" || bad "NULLS_NODE_CHECK failed: $NULLS_NODE_CHECK"
fi

[[ $fit ]]
touch "$fit_dir/$node.0"
