"""Truth ratio: is the right answer likelier than wrong ones? Three quantities share the name.

All use length-normalised probabilities, p = exp(-nats per token). Traps:

* The directions oppose each other. TOFU divides wrong by right (falls as a fact is known), NULLs
  right by wrong (rises). TOFU's own aggregation file uses the inverse of its definition; a
  two-sided test does not notice, a mean flips.
* TOFU's paper averages the wrong probabilities arithmetically, its released code and
  open-unlearning geometrically. What NULLs uses is not stated: both are here.
* The best value of an unlearned model is what the retrained model has, not 1.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from nulls_dist.eval.metrics.result import Direction, Metric

_TOFU: Final = "TOFU, arXiv 2401.06121"
_INF: Final = float("inf")


class Average(StrEnum):
    """How the probabilities of several wrong answers become one."""

    GEOMETRIC = "geometric"
    """exp of the mean of log p: TOFU's code, open-unlearning."""
    ARITHMETIC = "arithmetic"
    """mean of p: TOFU's paper."""


TOFU_RATIO: Final = {
    Average.GEOMETRIC: Metric(
        name="truth ratio",
        variant="TOFU, geometric (its code)",
        formula="mean_i exp(mean_j log p(wrong_j)) / p(right)",
        direction=Direction.FORGOTTEN,
        highest=_INF,
        source=f"{_TOFU}; open-unlearning, metric truth_ratio",
    ),
    Average.ARITHMETIC: Metric(
        name="truth ratio",
        variant="TOFU, arithmetic (its paper)",
        formula="mean_i (mean_j p(wrong_j)) / p(right)",
        direction=Direction.FORGOTTEN,
        highest=_INF,
        source=_TOFU,
    ),
}
NULLS_RATIO: Final = {
    Average.GEOMETRIC: Metric(
        name="truth ratio",
        variant="NULLs, geometric",
        formula="mean_i p(right) / exp(mean_j log p(wrong_j))",
        direction=Direction.REMEMBERED,
        highest=_INF,
        source="NULLs, arXiv 2606.13873; above 1: the right answer is preferred",
    ),
    Average.ARITHMETIC: Metric(
        name="truth ratio",
        variant="NULLs, arithmetic",
        formula="mean_i p(right) / (mean_j p(wrong_j))",
        direction=Direction.REMEMBERED,
        highest=_INF,
        source="NULLs, arXiv 2606.13873; above 1: the right answer is preferred",
    ),
}
TRUTH_PROBABILITY: Final = Metric(
    name="truth ratio",
    variant="probability (prob_mean)",
    formula="mean_i p(right) / (p(right) + exp(mean_j log p(wrong_j)))",
    direction=Direction.REMEMBERED,
    source="open-unlearning, aggregator prob_mean",
)
FORGET_SCORE: Final = Metric(
    name="truth ratio",
    variant="TOFU forget score, geometric",
    formula="mean_i min(R_i, 1/R_i), R = exp(mean_j log p(wrong_j)) / p(right)",
    direction=Direction.NONE,
    source=f"{_TOFU}; blind to which of the two is likelier",
)
RETAIN_SCORE: Final = Metric(
    name="truth ratio",
    variant="TOFU retain score, geometric",
    formula="mean_i max(0, 1 - R_i), R = exp(mean_j log p(wrong_j)) / p(right)",
    direction=Direction.REMEMBERED,
    source=_TOFU,
)


def log_average(wrong: Sequence[float], average: Average) -> float:
    """Return the log of the average probability of wrong answers.

    Args:
        wrong: nats per token of each, at least one.
        average: how.
    """
    log_p = -np.asarray(wrong, dtype=np.float64)
    if average is Average.GEOMETRIC:
        return float(np.mean(log_p))
    return float(special.logsumexp(log_p) - np.log(len(log_p)))


def tofu_ratio(right: float, wrong: Sequence[float], average: Average) -> float:
    """Return p(wrong) / p(right): falls as the fact is known.

    Args:
        right: nats per token of the right answer (in TOFU: of its paraphrase).
        wrong: of each wrong answer.
        average: of the wrong ones.
    """
    return float(np.exp(right + log_average(wrong, average)))


def nulls_ratio(right: float, wrong: Sequence[float], average: Average) -> float:
    """Return p(right) / p(wrong): above 1 where the fact is known. Arguments as `tofu_ratio`."""
    return float(np.exp(-right - log_average(wrong, average)))


def truth_probability(right: float, wrong: Sequence[float]) -> float:
    """Return p(right) / (p(right) + p(wrong)), wrong averaged geometrically."""
    return float(special.expit(-right - log_average(wrong, Average.GEOMETRIC)))


def forget_score(ratios: npt.ArrayLike) -> float:
    """Return the mean of min(R, 1/R) of (n,) ratios: 1 where right and wrong are equally likely."""
    values = np.asarray(ratios, dtype=np.float64)
    return float(np.mean(np.minimum(values, 1.0 / np.maximum(values, 1.0))))


def retain_score(ratios: npt.ArrayLike) -> float:
    """Return the mean of max(0, 1 - R) of (n,) TOFU ratios: 1 where everything is known."""
    return float(np.mean(np.maximum(0.0, 1.0 - np.asarray(ratios, dtype=np.float64))))
