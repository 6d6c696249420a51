"""`curves`: delete more and more sources, and ask; see `curve_results` for DIR/curves.json."""

from functools import partial
from pathlib import Path

import torch

from nulls_dist.benchmark.own_process import run_alone
from nulls_dist.benchmark.unlearning import deletion_curve, shared_curve
from nulls_dist.benchmark.unlearning.curve_results import format_curves, write_curves
from nulls_dist.benchmark.unlearning.done import count_done
from nulls_dist.benchmark.unlearning.lab import Lab, open_lab
from nulls_dist.benchmark.unlearning.schedule import run_side_by_side


def curves(*, out: Path, num_seeds: int | None, jobs: int) -> None:
    """Take the curves of a benchmark, or what is left of them, and print them.

    Args:
        out: directory of the benchmark.
        num_seeds: seeds from 0 on; None for all that are done.
        jobs: models that are asked at once.

    Raises:
        InputError: the benchmark is not done so far.
    """
    lab = open_lab(out)
    seeds = range(count_done(lab, num_seeds))
    run_side_by_side([partial(_take_alone, lab, seed) for seed in seeds], jobs)
    results = write_curves(lab, num_seeds=len(seeds))
    lab.commands.say(f"curves: {out / 'curves.json'}")
    print(format_curves(results))


def _take_alone(lab: Lab, seed: int) -> None:
    steps = (*map(deletion_curve.step_of, deletion_curve.counts_of(lab.size)), shared_curve.STEP)
    if not all(lab.record(seed, step).is_file() for step in steps):
        run_alone(_take_process, lab.root, seed)


def _take_process(root: Path, seed: int) -> None:
    torch.set_num_threads(1)  # two models are asked at once
    lab = open_lab(root)
    deletion_curve.ask_curve(lab, seed)
    shared_curve.ask_shared(lab, seed)
