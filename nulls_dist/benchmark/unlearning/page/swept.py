"""What the charts of swept models have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

from nulls_dist.benchmark.unlearning.page.findings import Estimate
from nulls_dist.benchmark.unlearning.sweep_results import FURTHER


def estimate_of_cell(cell: Mapping[str, Any] | None) -> Estimate:
    """Return a column of a model as a value to draw; what was not computed has none."""
    if cell is None:
        return Estimate(value=None)
    return Estimate(value=cell["value"], low=cell["low"], high=cell["high"])


def is_alone(model: Mapping[str, Any]) -> bool:
    """Whether at most one setting of a model differs from the benchmark's."""
    return model["value"] is None or len(FURTHER.split(model["value"])) == 1


def name_seeds(seeds: Sequence[int]) -> str:
    """Say for a caption on which seeds models were trained."""
    if len(seeds) == 1:
        return f"Seed {seeds[0]} alone"
    return f"{len(seeds)} seeds together"
