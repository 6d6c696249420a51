"""How fast forgotten text comes back when the weights are trained on again.

Compare only within a family of models: unlearned against retrained, trained on the same text with
the same settings, and the same sinks on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from nulls_dist.eval.metrics.result import Direction, Metric

HALF: Final = 0.5

RELEARNING_STEPS: Final = Metric(
    name="relearning",
    variant="steps to half of the gap",
    formula="least step s, interpolated, with m(s) >= m_retrained(0) + (m_target - "
    "m_retrained(0))/2",
    direction=Direction.FORGOTTEN,
    highest=float("inf"),
    source="after arXiv 2406.13356",
)
RELEARNING_AREA: Final = Metric(
    name="relearning",
    variant="area",
    formula="mean over steps of (m(s) - m_retrained(0)) / (m_target - m_retrained(0)), trapezoids",
    direction=Direction.REMEMBERED,
    lowest=-float("inf"),
    highest=float("inf"),
    source="this project",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryCurve:
    """A measure that rises with memory, such as answer accuracy, while a model is attacked."""

    steps: Sequence[int]
    """Ascending, from 0."""
    values: Sequence[float]
    """One per step."""

    def __post_init__(self) -> None:
        assert len(self.steps) == len(self.values), "one value per step"
        assert self.steps, "at least the value before the attack"
        assert self.steps[0] == 0, "the value before the attack"
        assert all(np.diff(self.steps) > 0), "steps ascend"


def steps_to_relearn(
    curve: MemoryCurve, *, floor: float, target: float, share: float = HALF
) -> float | None:
    """Return after how many steps a share of what was forgotten is back.

    Args:
        curve: of the attacked model.
        floor: value of the retrained model before any attack.
        target: value of the model before unlearning, above the floor.
        share: of the gap between the two, above 0.

    Returns:
        Steps, linear between two measurements; 0 if it was never gone; None (censored: more than
        the last step) if the curve never gets there. Do not average over censored values.
    """
    assert target > floor, "there is something to relearn"
    level = floor + share * (target - floor)
    reached = np.flatnonzero(np.asarray(curve.values) >= level)
    if not len(reached):
        return None
    at = int(reached[0])
    if at == 0:
        return 0.0
    before, after = curve.values[at - 1], curve.values[at]
    within = (level - before) / (after - before)
    return float(curve.steps[at - 1] + within * (curve.steps[at] - curve.steps[at - 1]))


def relearning_area(curve: MemoryCurve, *, floor: float, target: float) -> float:
    """Return the mean share of the gap that is back, over all steps: 0 none, 1 all at once.

    Args:
        curve: at least two measurements.
        floor: as in `steps_to_relearn`.
        target: likewise.
    """
    assert target > floor, "there is something to relearn"
    shares = (np.asarray(curve.values, dtype=np.float64) - floor) / (target - floor)
    return float(np.trapezoid(shares, curve.steps) / curve.steps[-1])
