#!/bin/bash
# Pretrain the 1B model on four nodes of 8 GPUs. Before the time limit, and when it is preempted, the run saves, requeues
# itself and resumes; after a crash or a hang it goes on from the newest checkpoint. README.md, "On a cluster", says more.
#
#   NULLS_DATA=/data/enwiki sbatch slurm/pretrain_1b.sh [arguments for nulls_dist.pretrain]
#
# Submit it from the checkout, on a file system that all nodes see. Every #SBATCH line can be overridden on the sbatch
# command line: --nodes=1 trains on 8 GPUs. Keep --time well above the 300 s of --signal. A run is known by its job name:
# jobs of one name never run at the same time, and continue each other.
#
# Environment, here or in slurm/site.env (see slurm/site.env.example):
#   NULLS_DATA          corpus directory (or pass --data)
#   NULLS_RUN_DIR       run directory; the same one resumes the same run (default: runs/JOB_NAME)
#   NULLS_PRESET        model preset (default: nulls_1b_x8, whose 8 experts live on 8 GPUs)
#   NULLS_RESUME        checkpoint to start a new run from (default: continue the run directory)
#   NULLS_DS_CONFIG     DeepSpeed configuration (default: the preset's)
#   NULLS_PYTHON        interpreter (default: .venv/bin/python)
#   NULLS_CONTAINER     words that run a command in a container
#   NULLS_SRUN_OPTIONS  more options of srun
#   NULLS_PREFLIGHT     "no" uses the nodes without looking at them
#   NULLS_HANG_S        seconds without a step after which the run hangs (default: 900; start, saving and evaluation count)
#   NULLS_MAX_STALLED   lives of this job without a new checkpoint after which it gives up (default: 3)
#SBATCH --job-name=nulls-1b
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --dependency=singleton
#SBATCH --requeue
#SBATCH --signal=B:USR1@300
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail
source slurm/job.sh

preset=${NULLS_PRESET:-nulls_1b_x8}
run_dir=$(realpath -m "${NULLS_RUN_DIR:-runs/$SLURM_JOB_NAME}")
life=$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}
log=$run_dir/log/$life
code_dir=$run_dir/code/$SLURM_JOB_ID
hang_s=${NULLS_HANG_S:-900}
max_stalled=${NULLS_MAX_STALLED:-3}

latest_step() { cat "$run_dir/latest_step" 2>/dev/null || echo 0; }

give_up() { # CODE REASON
  say "$2"
  echo failed >"$run_dir/outcome"
  exit "$1"
}

# ---- the run directory: one job at a time, what it runs, how often it was here -----------------------------------
if [[ " $* " == *" --run-dir"* ]]; then
  say "--run-dir must be given as NULLS_RUN_DIR: this script reads the run's outcome there"
  exit 2
fi
if [[ " $* " == *" --resume"* ]]; then
  say "--resume must be given as NULLS_RESUME: it concerns the first life of the job only"
  exit 2
fi
mkdir -p "$log"
exec {lock}>"$run_dir/.job.lock"
if ! flock -n "$lock"; then
  say "$run_dir: a job of another name trains here"
  exit 7
fi

# All lives of a job run the same code, whatever happens to the checkout meanwhile.
if [[ ! -d $code_dir ]]; then
  rm -rf "$code_dir.partial"
  mkdir -p "$code_dir.partial"
  tar -c --exclude=__pycache__ nulls_dist slurm pyproject.toml | tar -x -C "$code_dir.partial"
  git describe --always --dirty --abbrev=40 --exclude='*' >"$code_dir.partial/COMMIT" 2>/dev/null || true
  [[ -z ${NULLS_DS_CONFIG:-} ]] || cp "$NULLS_DS_CONFIG" "$code_dir.partial/ds_config.json"
  mv "$code_dir.partial" "$code_dir"
fi
export PYTHONPATH=$code_dir${PYTHONPATH:+:$PYTHONPATH} PYTHONSAFEPATH=1

stalled=$(grep -cx "$SLURM_JOB_ID"$'\t'"$(latest_step)" "$run_dir/log/lives.tsv" 2>/dev/null || true)
if ((${stalled:-0} >= max_stalled)); then
  give_up 1 "$stalled lives ended without a checkpoint after step $(latest_step); see $run_dir/log, then submit again"
fi
printf '%s\t%s\n' "$SLURM_JOB_ID" "$(latest_step)" >>"$run_dir/log/lives.tsv"

# ---- where the ranks meet: rank, local rank and world size are Slurm's own variables ------------------------------
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + (SLURM_JOB_ID * 10 + ${SLURM_RESTART_COUNT:-0}) % 10000)) # another one in every life
export MASTER_ADDR MASTER_PORT
export NCCL_DEBUG=${NCCL_DEBUG:-WARN} TORCH_NCCL_DUMP_ON_TIMEOUT=1 TORCH_FR_BUFFER_SIZE=${TORCH_FR_BUFFER_SIZE:-2000}
export TORCH_FR_DUMP_TEMP_FILE=$log/nccl_flight_

# A later life of the job continues its own run directory, whatever checkpoint the first one started from.
resume=auto
((${SLURM_RESTART_COUNT:-0} > 0)) || resume=${NULLS_RESUME:-auto}
trainer=("${python[@]}" -m nulls_dist.pretrain --preset "$preset" --run-dir "$run_dir" --resume "$resume"
  ${NULLS_DATA:+--data "$NULLS_DATA"} ${NULLS_DS_CONFIG:+--ds-config "$code_dir/ds_config.json"} "$@")
{
  printf '%q ' "${trainer[@]}"
  echo
  env | grep -E '^(NULLS|SLURM|MASTER|NCCL|GLOO|TORCH|CUDA|OMP|PYTHON)[A-Z_]*=' | sort
} >"$log/command"

# ---- look at every node before using it ---------------------------------------------------------------------------
nodes_without() { # FOLDER COUNT: the nodes, with commas, of which fewer than COUNT files NODE.* lie there
  local node
  scontrol show hostnames "$SLURM_JOB_NODELIST" | while read -r node; do
    (($(find "$1" -name "$node.*" | wc -l) >= $2)) || echo "$node"
  done | paste -s -d,
}

# Preemption sends TERM to these steps. They do not listen: who is cut short would look unfit.
if [[ ${NULLS_PREFLIGHT:-} != no ]]; then
  mkdir -p "$log/fit" "$log/met"
  timeout --kill-after=30 600 srun --ntasks="$SLURM_NNODES" --ntasks-per-node=1 --output="$log/preflight-%t.log" \
    "$code_dir/slurm/preflight.sh" "$run_dir" "$log/fit" "$(date +%s)" || true
  unfit=$(nodes_without "$log/fit" 1)
  if [[ $unfit ]]; then
    say "unfit: $unfit. $(cat "$log"/preflight-*.log | paste -s -d';')"
    requeue_without "$unfit"
  fi
  if ! timeout --kill-after=30 600 srun "${srun_options[@]}" --wait=60 --output="$log/all-reduce-%t.log" \
    bash -c 'trap "" TERM; exec "$@"' rank "${python[@]}" -m nulls_dist.parallel.preflight "$log/met"; then
    unfit=$(nodes_without "$log/met" "${SLURM_NTASKS_PER_NODE:-1}")
    say "the ranks cannot add up numbers, see $log/all-reduce-*.log; not to be reached: ${unfit:-none}"
    # If most nodes cannot be reached, it is the first one that cannot, or none is to blame.
    (($(tr , '\n' <<<"$unfit" | grep -c .) * 2 >= SLURM_NNODES)) || [[ ! $unfit ]] || requeue_without "$unfit"
    requeue
  fi
fi
[[ ! $stop_requested ]] || requeue

# ---- train: one task per GPU --------------------------------------------------------------------------------------
# A rank ignores signals until the trainer handles them: while Python imports, it would die of them. When a rank fails,
# the others have 60 s: they say where they were, and the exit code is theirs, not that of being killed for company.
rm -f "$run_dir/outcome"
touch "$run_dir/heartbeat"
say "start at $MASTER_ADDR:$MASTER_PORT, $SLURM_NTASKS ranks, after step $(latest_step); their logs: $log"
srun "${srun_options[@]}" --wait=60 --output="$log/rank-%t.log" \
  bash -c 'trap "" USR1 USR2; exec "$@"' rank "${trainer[@]}" &
step=$!

hung=
# shellcheck disable=SC2317 # attend calls it
watch_heartbeat() { # rank 0 touches it after every step
  local touched age
  touched=$(stat -c %Y "$run_dir/heartbeat") || return 0
  age=$(($(date +%s) - touched))
  ((age > hang_s)) || return 0
  if [[ ! $hung ]]; then
    say "no step for $age s: the ranks write their stacks and are killed"
    printf '{"time": "%s", "life": null, "level": "error", "event": "hang", "message": "no step for %s s; see %s"}\n' \
      "$(date -u +%FT%T+00:00)" "$age" "log/$life" >>"$run_dir/log/events.jsonl" || true # a full disk may be why it hangs
    hung=yes
    kill -USR2 "$step" || true
  else
    squeue -h -s -j "$SLURM_JOB_ID" -o %i | grep -E '[.][0-9]+$' | xargs -r scancel --signal=KILL || true
  fi
}
attend "$step" USR1 watch_heartbeat

# The trainer writes its outcome before any rank leaves; who was killed wrote none.
outcome=$(cat "$run_dir/outcome" 2>/dev/null || echo crashed)
say "outcome: $outcome, exit code $code, at step $(latest_step)"
case $outcome:$code in
  done:*) exit 0 ;;
  stopped:*) requeue ;;
  halted:*)
    say "halted by $run_dir/STOP; submit again to continue"
    exit 75
    ;;
  *:[2456]) give_up "$code" "refused: another life would be, too; see $log/rank-0.log" ;; # see the README's exit codes
  *) requeue ;;
esac
