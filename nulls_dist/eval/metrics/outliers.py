"""Documents that stand out after unlearning: a mean below a threshold can hide some that are known.

The threshold is the mean memorization accuracy of unseen documents of the same kind. The count
c(D_f) of the publication could not be read in full, so three readings are given, each by its name.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from nulls_dist.eval.metrics.result import Direction, Metric

_SOURCE: Final = "after arXiv 2405.03097, whose exact rule may differ"
_INF: Final = float("inf")

ABOVE_THRESHOLD: Final = Metric(
    name="outliers c(D_f)",
    variant="above threshold",
    formula="#{i: g_i > gamma}, g = memorization accuracy, gamma = its mean on unseen text",
    direction=Direction.REMEMBERED,
    highest=_INF,
    source=_SOURCE,
)
ABOVE_QUARTILES: Final = Metric(
    name="outliers c(D_f)",
    variant="quartiles",
    formula="#{i: g_i > Q3 + 1.5 (Q3 - Q1)}, g = memorization accuracy",
    direction=Direction.REMEMBERED,
    highest=_INF,
    source=_SOURCE,
)
OUTSIDE_BAND: Final = Metric(
    name="outliers c(D_f)",
    variant="two-sided",
    formula="#{i: |g_i - gamma| > delta}, g = memorization accuracy, gamma, delta = mean and "
    "standard deviation on unseen text",
    direction=Direction.NONE,
    highest=_INF,
    source=f"{_SOURCE}; counts over-forgotten documents as well",
)


def count_above_threshold(scores: npt.ArrayLike, threshold: float) -> int:
    """Return how many of (n,) scores exceed a threshold."""
    return int(np.sum(np.asarray(scores) > threshold))


def count_above_quartiles(scores: npt.ArrayLike) -> int:
    """Return how many of (n,) scores exceed Q3 + 1.5 IQR of themselves (Tukey's rule).

    Where most are alike the range between the quartiles is 0 and any higher score is an outlier.
    """
    first, third = np.quantile(np.asarray(scores, dtype=np.float64), (0.25, 0.75))
    return count_above_threshold(scores, float(third + 1.5 * (third - first)))


def count_outside_band(scores: npt.ArrayLike, middle: float, width: float) -> int:
    """Return how many of (n,) scores are farther than `width` from `middle`, on either side."""
    return int(np.sum(np.abs(np.asarray(scores) - middle) > width))
