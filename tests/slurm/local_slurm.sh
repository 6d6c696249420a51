#!/usr/bin/env bash
# A throw-away Slurm on this machine (Debian or Ubuntu), in one directory, under the caller's name.
#
#   tests/slurm/local_slurm.sh install                 installs what is missing, as root
#   tests/slurm/local_slurm.sh up DIR [NODES] [PORT]   the same, then starts it and waits until it is idle; go on with
#                                                      export SLURM_CONF=DIR/slurm.conf
#   tests/slurm/local_slurm.sh down DIR                cancels its jobs, ends its daemons; DIR keeps logs and state
#
# Every node pretends to have 96 CPUs and 8 GPUs, and is named by a loopback address: so its name resolves. The partition
# `high` preempts the default one, `main`. Exit code 69: Slurm is not there and cannot be installed.
set -euo pipefail

readonly PROGRAMS=(slurmctld slurmd munged sbatch)
readonly PACKAGES=(slurmctld slurmd munge slurm-client)
# Whatever stands for a GPU must be a device. These exist everywhere, and no job opens them.
readonly DEVICES=(null zero full random urandom tty ptmx pts/ptmx)

say() { printf 'local_slurm: %s\n' "$*" >&2; }

install_slurm() {
  (($(command -v "${PROGRAMS[@]}" | wc -l) < ${#PROGRAMS[@]})) || return 0
  local log remedy="apt-get install ${PACKAGES[*]}"
  if ! command -v apt-get >/dev/null || ((EUID != 0)); then
    say "Slurm is missing, and only root can install it: $remedy"
    exit 69
  fi
  log=$(mktemp)
  if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${PACKAGES[@]}"; } </dev/null >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    say "Slurm could not be installed: $remedy"
    exit 69
  fi
  rm -f "$log"
}

write_configuration() { # DIR NODES PORT
  local dir=$1 nodes="127.0.0.[1-$2]" port=$3 device
  cat >"$dir/slurm.conf" <<CONF
ClusterName=throwaway
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits for this long before it starts again; by default 120 s.
AuthInfo=socket=$dir/run/munge.socket,cred_expire=5
# No cgroups, no binding, no accounting.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
# Resources are what this file says, whatever the machine has.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
InactiveLimit=0
KillWait=10
MinJobAge=3600
SlurmctldTimeout=10
SlurmdTimeout=60
ReturnToService=2
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.%n.log
NodeName=$nodes NodeHostname=localhost NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + $2))] CPUs=96 RealMemory=500000 Gres=gpu:${#DEVICES[@]} State=UNKNOWN
PartitionName=main Nodes=$nodes Default=YES MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE GraceTime=30
PartitionName=high Nodes=$nodes MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
CONF
  for device in "${DEVICES[@]}"; do
    echo "NodeName=$nodes Name=gpu File=/dev/$device"
  done >"$dir/gres.conf"
  # Slurm 23.11 looks for cgroups even where nothing uses them; versions before it do not know this plugin.
  if [[ $(printf '%s\n' 23.11 "$(slurmctld -V | cut -d' ' -f2)" | sort -V | head -n 1) == 23.11 ]]; then
    echo CgroupPlugin=disabled >"$dir/cgroup.conf"
  fi
}

pid_of() { # PIDFILE: print the process that is alive and was started on files of its directory; pids are reused
  local pid
  pid=$(cat "$1" 2>/dev/null) && [[ -n $pid ]] || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "${1%/run/*}/" && echo "$pid"
}

up() { # DIR NODES PORT
  local dir=$1 nodes=$2 port=$3 node
  install_slurm
  # munged wants a directory that nobody else can write to.
  install -d -m 0755 "$dir" "$dir"/{log,run,state,spool}
  install -d -m 0700 "$dir/munge"
  (umask 077 && head -c 128 /dev/urandom >"$dir/munge/key")
  write_configuration "$dir" "$nodes" "$port"
  export SLURM_CONF=$dir/slurm.conf
  # --force: only the caller may get through to the socket, where munged would serve everyone.
  munged --force --key-file="$dir/munge/key" --socket="$dir/run/munge.socket" --pid-file="$dir/run/munged.pid" \
    --log-file="$dir/munge/munged.log" --seed-file="$dir/munge/seed" </dev/null >/dev/null 2>&1
  slurmctld -f "$SLURM_CONF" </dev/null >&2
  for ((node = 1; node <= nodes; node++)); do
    install -d -m 0755 "$dir/spool/127.0.0.$node"
    slurmd -f "$SLURM_CONF" -N "127.0.0.$node" </dev/null >&2
  done
  for _ in {1..150}; do
    [[ $(sinfo -h -p main -t idle -o '%D' 2>/dev/null) != "$nodes" ]] || return 0
    sleep 0.2
  done
  sinfo -N -l >&2 || true
  tail -n 20 "$dir"/log/*.log >&2
  say "its nodes are not ready after 30 s"
  down "$dir"
  exit 1
}

stop() { # PIDFILE...: ask all, wait up to 15 s, kill what is left
  local file pid left
  for file in "$@"; do
    if pid=$(pid_of "$file"); then kill -TERM "$pid" || true; fi
  done
  for _ in {1..75}; do
    left=
    for file in "$@"; do pid_of "$file" >/dev/null && left=yes; done
    [[ $left ]] || return 0
    sleep 0.2
  done
  for file in "$@"; do
    if pid=$(pid_of "$file"); then kill -KILL "$pid" || true; fi
  done
}

down() { # DIR
  local dir=$1
  export SLURM_CONF=$dir/slurm.conf
  if pid_of "$dir/run/slurmctld.pid" >/dev/null; then
    for _ in {1..30}; do # a job may come back once
      [[ $(timeout 5 squeue -h -o %A 2>/dev/null) ]] || break
      timeout 5 scancel --quiet --user "$(id -un)" 2>/dev/null || true
      sleep 1
    done
  fi
  stop "$dir"/run/slurmd.*.pid "$dir/run/slurmctld.pid"
  stop "$dir/run/munged.pid"
}

usage="usage: local_slurm.sh install | up DIR [NODES] [PORT] | down DIR"
case ${1:?$usage} in
  install) install_slurm ;;
  up) up "$(realpath -m "${2:?$usage}")" "${3:-2}" "${4:-17100}" ;;
  down) down "$(realpath -m "${2:?$usage}")" ;;
  *)
    echo "$usage" >&2
    exit 2
    ;;
esac
