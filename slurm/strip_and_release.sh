#!/bin/bash
# Delete sources from a checkpoint, prove it, and release what is left for transformers. Needs no GPU.
#
#   NULLS_CHECKPOINT=runs/nulls-1b NULLS_SOURCES=sources.txt NULLS_OUT=/data/release \
#     sbatch slurm/strip_and_release.sh [arguments for tools/strip_sources.py]
#
# Submit it from the checkout. After a run that is still in the queue: --dependency=afterok:JOB. Every #SBATCH line can be
# overridden on the sbatch command line. Started again, the job leaves out what it had finished.
#
# Environment, here or in slurm/site.env (see slurm/site.env.example):
#   NULLS_CHECKPOINT  checkpoint, or a run directory: its newest one
#   NULLS_SOURCES     list of the sources to delete
#   NULLS_OUT         directory to create: stripped/ (the checkpoint), records/ (the signed report), one folder per form
#   NULLS_FORMS       forms to release (default: "backbone routed")
#   NULLS_PYTHON      interpreter with the extra hf (default: .venv/bin/python)
#SBATCH --job-name=nulls-release
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=04:00:00
#SBATCH --dependency=singleton
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail
source slurm/job.sh
trap - USR1 TERM # nothing to save: a step that was interrupted is done again

: "${NULLS_CHECKPOINT:?must name a checkpoint or a run}" "${NULLS_SOURCES:?must name the list of sources}"
: "${NULLS_OUT:?must name the directory to create}"

checkpoint=$NULLS_CHECKPOINT
if [[ -e $checkpoint/latest_step ]]; then
  checkpoint=$checkpoint/checkpoints/step-$(printf %08d "$(<"$checkpoint/latest_step")")
fi
stripped=$NULLS_OUT/stripped
mkdir -p "$NULLS_OUT"

if [[ ! -e $stripped ]]; then # outputs appear whole or not at all
  say "delete the sources of $NULLS_SOURCES from $checkpoint"
  "${python[@]}" tools/strip_sources.py "$checkpoint" "$NULLS_SOURCES" --out "$stripped" \
    --records "$NULLS_OUT/records" "$@"
fi
say "verify $stripped"
"${python[@]}" tools/verify_checkpoint.py "$stripped"
for report in "$NULLS_OUT"/records/*/report.json; do
  "${python[@]}" tools/verify_deletion.py "$report" "$stripped"
done
read -ra forms <<<"${NULLS_FORMS:-backbone routed}"
for form in "${forms[@]}"; do
  if [[ ! -e $NULLS_OUT/$form ]]; then
    say "release the form $form"
    "${python[@]}" tools/convert_to_hf.py "$stripped" "$NULLS_OUT/$form" --form "$form" --validate
  fi
done
say "done: $NULLS_OUT"
