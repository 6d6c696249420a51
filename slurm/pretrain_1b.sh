#!/bin/bash
# Pretrain the 1B model on one node of 8 GPUs. Before the time limit the run saves, requeues itself and resumes.
#
#   NULLS_DATA=/data/enwiki sbatch slurm/pretrain_1b.sh [arguments for nulls_dist.pretrain]
#
# Submit it from the checkout, on a file system that all nodes see. Every #SBATCH line can be overridden on the
# sbatch command line: --nodes=4 trains on 32 GPUs. Keep --time well above the 300 s of --signal.
#
# Environment:
#   NULLS_DATA       corpus directory (or pass --data)
#   NULLS_RUN_DIR    run directory; the same one resumes the same run (default: runs/JOB_NAME)
#   NULLS_PRESET     model preset (default: nulls_1b_x8, whose 8 experts live on 8 GPUs)
#   NULLS_RESUME     checkpoint to start a new run from (default: continue the run directory)
#   NULLS_DS_CONFIG  DeepSpeed configuration (default: the preset's)
#   NULLS_PYTHON     interpreter (default: .venv/bin/python)
#SBATCH --job-name=nulls-1b
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@300
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

preset=${NULLS_PRESET:-nulls_1b_x8}
run_dir=${NULLS_RUN_DIR:-runs/$SLURM_JOB_NAME}

say() { printf '%s [job %s, life %s] %s\n' "$(date +%FT%T)" "$SLURM_JOB_ID" "${SLURM_RESTART_COUNT:-0}" "$*"; }

if [[ " $* " == *" --run-dir"* ]]; then
  say "--run-dir must be given as NULLS_RUN_DIR: this script reads the run's outcome there"
  exit 2
fi

# A later life of the job continues its own run directory, whatever checkpoint the first one started from.
resume=(--resume "${NULLS_RESUME:-auto}")
((${SLURM_RESTART_COUNT:-0} == 0)) || resume=(--resume auto)
if [[ " $* " == *" --resume"* ]]; then
  say "--resume must be given as NULLS_RESUME: it concerns the first life of the job only"
  exit 2
fi

# Rank, local rank and world size are Slurm's own variables; the first node is where the ranks meet.
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))
SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} # srun does not take it from sbatch
export MASTER_ADDR MASTER_PORT SRUN_CPUS_PER_TASK
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONUNBUFFERED=1

trainer=("${NULLS_PYTHON:-.venv/bin/python}" -m nulls_dist.pretrain
  --preset "$preset" --run-dir "$run_dir" "${resume[@]}"
  ${NULLS_DATA:+--data "$NULLS_DATA"} ${NULLS_DS_CONFIG:+--ds-config "$NULLS_DS_CONFIG"} "$@")

stop_requested=
trap 'stop_requested=yes; say "asked to stop: the ranks will save and leave"' USR1 TERM

# One task per GPU. A rank ignores USR1 until the trainer handles it: while Python imports, it would die of it.
mkdir -p "$run_dir"
rm -f "$run_dir/outcome"
say "start at $MASTER_ADDR:$MASTER_PORT, $SLURM_NTASKS ranks: ${trainer[*]}"
srun --kill-on-bad-exit=1 --wait=120 --unbuffered --label \
  bash -c 'trap "" USR1; exec "$@"' rank "${trainer[@]}" &
step=$!

# Forward the request, again every 15 s for ranks that were not listening yet. A signal ends `wait` at once.
while kill -0 "$step" 2>/dev/null; do
  [[ -z $stop_requested ]] || kill -USR1 "$step" 2>/dev/null || true
  sleep 15 &
  wait -n "$step" $! || true
  kill $! 2>/dev/null || true
done

# The trainer writes its outcome before any rank leaves. The exit code of srun would not do: it is the largest of
# all ranks' codes, and ranks that were killed for company raise it. A job that just ended would not be requeued.
outcome=$(cat "$run_dir/outcome" 2>/dev/null || echo failed)
say "outcome: $outcome, at step $(cat "$run_dir/latest_step" 2>/dev/null || echo 0)"
case $outcome in
  done) exit 0 ;;
  stopped)
    trap '' USR1 TERM # requeueing sends TERM to this shell
    scontrol requeue "$SLURM_JOB_ID" || say "not requeued (fine if Slurm did it already)"
    exit 75
    ;;
  *) exit 1 ;;
esac
