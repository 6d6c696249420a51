#!/bin/bash
# Build a corpus of Wikipedia with one process per task. Stopped at its time limit, preempted or killed, the job
# requeues itself (or is submitted again) and continues: only what was being worked on is done again.
#
#   NULLS_DUMP=/data/enwiki-20240101-pages-articles-multistream.xml.bz2 NULLS_CORPUS=/data/enwiki \
#     sbatch slurm/prep_wikipedia.sh [arguments for data_prep.build]
#
# Submit it from the checkout, on a file system that all nodes see; dump, index and corpus lie on one, too. The index
# (...-multistream-index.txt.bz2) is looked for beside the dump: without it every task reads all of the dump. Every
# #SBATCH line can be overridden on the sbatch command line: --nodes=4 --ntasks-per-node=32.
#
# Environment, here or in slurm/site.env (see slurm/site.env.example):
#   NULLS_DUMP       multistream dump
#   NULLS_CORPUS     corpus directory to create
#   NULLS_TOKENIZER  tokenizer file, or train:bpe:N (default: train:bpe:48000)
#   NULLS_LAUNCHER   what starts the MPI ranks (default: srun --mpi=pmix; "mpirun" takes that of mpi4py's MPI)
#   NULLS_PYTHON     interpreter with the extra mpi (default: .venv/bin/python)
#SBATCH --job-name=nulls-prep
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=64
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@60
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail
source slurm/job.sh

: "${NULLS_DUMP:?must name the dump}" "${NULLS_CORPUS:?must name the corpus directory to create}"

if [[ -e $NULLS_CORPUS/manifest.json ]]; then
  say "$NULLS_CORPUS is complete"
  exit 0
fi

read -ra launcher <<<"${NULLS_LAUNCHER:-srun --mpi=pmix}"
if [[ ${launcher[0]##*/} == srun ]]; then
  launcher+=(--kill-on-bad-exit=1 "${srun_options[@]}")
else
  launcher+=(-n "$SLURM_NTASKS")
fi

build=("${python[@]}" -m data_prep.build --input "$NULLS_DUMP" --format wikipedia
  --out "$NULLS_CORPUS" --tokenizer "${NULLS_TOKENIZER:-train:bpe:48000}" --partitions 256 "$@")

say "start with ${SLURM_NTASKS:-1} tasks: ${build[*]}"
"${launcher[@]}" "${build[@]}" &
attend $! TERM

if ((code == 0)); then
  say "done: $NULLS_CORPUS"
elif [[ $stop_requested ]]; then
  say "stopped; it continues when it is started again"
  requeue
else
  say "failed with exit code $code"
fi
exit "$code"
