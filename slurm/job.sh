# What the jobs of this directory share: how they speak, are asked to stop, and come back. Sourced from the checkout.
# shellcheck shell=bash disable=SC2034 # the variables set here are read there

say() { printf '%s [job %s, life %s] %s\n' "$(date +%FT%T)" "$SLURM_JOB_ID" "${SLURM_RESTART_COUNT:-0}" "$*"; }

# What is particular to a cluster: modules, fabric, container, interpreter.
site=${NULLS_SITE_ENV:-slurm/site.env}
if [[ -e $site ]]; then
  # shellcheck source=slurm/site.env.example
  source "$site"
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONUNBUFFERED=1
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} # srun does not take it from sbatch
read -ra python <<<"${NULLS_CONTAINER:-} ${NULLS_PYTHON:-.venv/bin/python}"
read -ra srun_options <<<"${NULLS_SRUN_OPTIONS:-}"

stop_requested=
trap 'stop_requested=yes; say "asked to stop"' USR1 TERM

# attend PID SIGNAL [CHECK]: wait for a background process, and leave its exit code in `code`. A request to stop is passed
# on as SIGNAL, again every 5 s for ranks that were not listening yet; CHECK is called as often.
attend() {
  local pid=$1 signal=$2 check=${3:-:} pause passed_on
  while kill -0 "$pid" 2>/dev/null; do
    passed_on=$stop_requested
    [[ -z $passed_on ]] || kill -s "$signal" "$pid" 2>/dev/null || true
    "$check"
    sleep 5 &
    pause=$!
    # a signal ends it at once; one that came since, during the check, would not
    [[ $passed_on != "$stop_requested" ]] || wait -n "$pid" "$pause" || true
    kill "$pause" 2>/dev/null || true
  done
  code=0
  wait "$pid" || code=$?
}

# End this life; the job starts again, without NODES (with commas) if there are any. A job that just ended would not, also
# when it was Slurm that preempted it. One that Slurm is ending already was cancelled, or requeued by Slurm: it stays so.
end_this_life() { # NODES
  trap '' USR1 TERM # requeueing sends TERM to this shell, and KILL some seconds later
  if [[ $(squeue -h -j "$SLURM_JOB_ID" -o %T) == COMPLETING ]]; then
    say "cancelled, or requeued by Slurm"
  elif [[ $1 ]]; then
    local excluded
    excluded=$(scontrol show job --oneliner "$SLURM_JOB_ID" | grep -o ' ExcNodeList=[^ ]*' | cut -d= -f2)
    excluded=$1,$excluded
    excluded=${excluded%,(null)}
    say "requeued without $excluded"
    scontrol requeuehold "$SLURM_JOB_ID" # only a pending job can be given nodes to avoid
    for _ in {1..5}; do
      scontrol update JobId="$SLURM_JOB_ID" ExcNodeList="$excluded" && break
      sleep 1
    done
    scontrol release "$SLURM_JOB_ID"
  else
    scontrol requeue "$SLURM_JOB_ID" || say "not requeued"
  fi
  exit 75
}
requeue() { end_this_life ""; }
requeue_without() { end_this_life "$1"; }
