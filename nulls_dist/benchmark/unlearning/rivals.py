"""`rivals`: every post-hoc method on the dense model, beside sinks and beside retraining.

A step per seed and method to unlearn, one to ask and one to relearn; DIR/rivals.json pools the
seeds, see `rival_results`. The trained models are those of `run`, whose answers are not asked
again.
"""

from functools import partial
from pathlib import Path

import torch

from nulls_dist.benchmark.own_process import run_alone
from nulls_dist.benchmark.unlearning.done import count_done
from nulls_dist.benchmark.unlearning.lab import RESULTS_FILE, Lab, open_lab
from nulls_dist.benchmark.unlearning.report import report
from nulls_dist.benchmark.unlearning.rival_asking import (
    ask_beside,
    ask_rival,
    asked_step,
    relearning_step,
    steps_beside,
)
from nulls_dist.benchmark.unlearning.rival_models import rival_step, unlearn_rival
from nulls_dist.benchmark.unlearning.rival_results import format_rivals, write_rivals
from nulls_dist.benchmark.unlearning.schedule import run_side_by_side
from nulls_dist.config.overrides import check_known
from nulls_dist.posthoc.catalogue import CATALOGUE


def rivals(*, out: Path, names: str | None, num_seeds: int | None, jobs: int) -> None:
    """Unlearn the dense models of a benchmark, or do what is left, and print the table.

    Args:
        out: directory of the benchmark.
        names: methods, separated by commas; None for all.
        num_seeds: seeds from 0 on; None for all that are done.
        jobs: models that are worked on at once.

    Raises:
        ConfigError: a method is unknown.
        InputError: the benchmark is not done so far.
    """
    chosen = choose_methods(names)
    lab = open_lab(out)
    seeds = range(count_done(lab, num_seeds))
    tasks = [partial(_beside_alone, lab, seed) for seed in seeds]
    tasks += [partial(_rival_alone, lab, seed, key) for seed in seeds for key in chosen]
    run_side_by_side(tasks, jobs)
    results = write_rivals(lab, num_seeds=len(seeds))
    lab.commands.say(f"rivals: {out / 'rivals.json'}")
    print(format_rivals(results))
    if (out / RESULTS_FILE).is_file():
        report(out=out)


def choose_methods(names: str | None) -> tuple[str, ...]:
    """Return the methods of a list separated by commas.

    Raises:
        ConfigError: one is unknown.
    """
    chosen = tuple(CATALOGUE) if names is None else tuple(map(str.strip, names.split(",")))
    for name in chosen:
        check_known(name, list(CATALOGUE), "method")
    return chosen


def _beside_alone(lab: Lab, seed: int) -> None:
    if not all(lab.record(seed, step).is_file() for step in steps_beside()):
        run_alone(_beside_process, lab.root, seed)


def _beside_process(root: Path, seed: int) -> None:
    torch.set_num_threads(1)  # two models are worked on at once
    ask_beside(open_lab(root), seed)


def _rival_alone(lab: Lab, seed: int, key: str) -> None:
    steps = (rival_step(key), asked_step(key), relearning_step(key))
    if not all(lab.record(seed, step).is_file() for step in steps):
        run_alone(_rival_process, lab.root, seed, key)


def _rival_process(root: Path, seed: int, key: str) -> None:
    torch.set_num_threads(1)
    lab = open_lab(root)
    unlearn_rival(lab, seed, key)
    ask_rival(lab, seed, key)
