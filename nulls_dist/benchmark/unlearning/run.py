"""`run`: train, delete, ask, and compare with the targets."""

from pathlib import Path

from nulls_dist.benchmark.unlearning.lab import begin_lab
from nulls_dist.benchmark.unlearning.report import report
from nulls_dist.benchmark.unlearning.results import format_results, write_results
from nulls_dist.benchmark.unlearning.schedule import do_steps
from nulls_dist.benchmark.unlearning.sizes import SIZES, Size


def run(*, size: str, num_seeds: int, out: Path, jobs: int) -> None:
    """Run a benchmark of a named size; arguments as `run_size`."""
    run_size(SIZES[size], num_seeds=num_seeds, out=out, jobs=jobs)


def run_size(size: Size, *, num_seeds: int, out: Path, jobs: int) -> None:
    """Run a benchmark, or what is left of one that was killed; print its table and write its page.

    Args:
        size: how much it does.
        num_seeds: worlds and initial values; more may be added to a benchmark that is done.
        out: its directory.
        jobs: models that are trained or asked at once.

    Raises:
        InputError: the directory is of another benchmark.
        NullsError: a step failed.
    """
    lab = begin_lab(out, size)
    do_steps(lab, num_seeds=num_seeds, jobs=jobs)
    results = write_results(lab, num_seeds=num_seeds)
    lab.commands.say(f"results: {out / 'results.json'}")
    print(format_results(results))
    report(out=out)
