"""Which seeds of a benchmark are done, for commands that reuse its models."""

from nulls_dist.benchmark.unlearning.conditions import checkpoints_of
from nulls_dist.benchmark.unlearning.lab import Lab
from nulls_dist.errors import InputError


def count_done(lab: Lab, wanted: int | None) -> int:
    """Return how many seeds from 0 on to use.

    Args:
        lab: the benchmark.
        wanted: seeds that the user asked for; None for all that are done.

    Raises:
        InputError: fewer seeds are done than wanted, or none.
    """
    steps = [
        f"ask-{arm.name}-{checkpoint}"
        for arm in lab.size.arms
        for checkpoint in checkpoints_of(arm)
    ]
    found = 0
    while all(lab.record(found, step).is_file() for step in steps):
        found += 1
    if found < (wanted or 1):
        raise InputError(
            f"{lab.root}: {found} seeds of the benchmark are done, but {wanted or 1} are needed; "
            f"first 'python -m nulls_dist.benchmark run --size {lab.size.name} "
            f"--seeds {wanted or 1} --out {lab.root}'"
        )
    return wanted or found
