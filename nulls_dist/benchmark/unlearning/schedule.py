"""All steps of a benchmark in their order, two models at a time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial

from nulls_dist.benchmark.unlearning.conditions import checkpoints_of
from nulls_dist.benchmark.unlearning.evaluation import evaluate
from nulls_dist.benchmark.unlearning.lab import TRAINED, Lab
from nulls_dist.benchmark.unlearning.models import delete, train
from nulls_dist.benchmark.unlearning.pool import describe_sources
from nulls_dist.benchmark.unlearning.real_text import Texts
from nulls_dist.benchmark.unlearning.sizes import Arm
from nulls_dist.benchmark.unlearning.world import build_world


def do_steps(lab: Lab, *, num_seeds: int, jobs: int, texts: Texts | None = None) -> None:
    """Build every seed's world, train its models, delete, and ask all.

    Args:
        lab: the benchmark.
        num_seeds: seeds from 0 on.
        jobs: models that are trained or asked at once, each by one process with one thread:
            at these sizes two processes for one model lose more by talking than they gain.
        texts: what a world of real text is made of.

    Raises:
        NullsError: a step failed; no further one is begun.
    """
    seeds = range(num_seeds)
    run_side_by_side([partial(build_world, lab, seed, texts) for seed in seeds], jobs)
    models = [(seed, arm) for seed in seeds for arm in lab.size.arms]
    run_side_by_side([partial(_follow, lab, seed, arm) for seed, arm in models], jobs)


def run_side_by_side(tasks: Sequence[Callable[[], None]], jobs: int) -> None:
    """Run tasks in threads, so many at once; after an error or an interrupt none is begun.

    Raises:
        NullsError: a task failed; those that had begun have ended.
    """
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            for future in as_completed(futures):
                future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _follow(lab: Lab, seed: int, arm: Arm) -> None:
    """Take one model from its training to its answers."""
    train(lab, seed, arm)
    for checkpoint in checkpoints_of(arm):
        if checkpoint != TRAINED:
            delete(lab, seed, checkpoint, max_collateral=lab.size.max_collateral)
    if len(checkpoints_of(arm)) > 1:
        describe_sources(lab, seed)
    for checkpoint in checkpoints_of(arm):
        evaluate(lab, seed, arm, checkpoint)
