"""Forget quality: can a test tell the unlearned model from one retrained without the sources?"""

import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from nulls_dist.eval.metrics.result import Direction, Metric, MetricResult

FORGET_QUALITY: Final = Metric(
    name="forget quality",
    variant="two-sided KS of raw truth ratios, one per fact",
    formula="p of D = sup_r |F_unlearned(r) - F_retrained(r)|",
    direction=Direction.RETRAINED,
    source="TOFU, arXiv 2401.06121; scipy.stats.ks_2samp",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetQuality:
    """A Kolmogorov-Smirnov test of two samples."""

    p_value: float
    distance: float
    """D, the largest difference of the distribution functions, from 0 to 1."""
    num_unlearned: int
    num_retrained: int

    def to_result(self, group: str) -> MetricResult:
        """Return the p-value with D and both sizes beside it."""
        return MetricResult(
            metric=FORGET_QUALITY,
            group=group,
            value=self.p_value,
            n=self.num_unlearned,
            details={"D": self.distance, "n_retrained": self.num_retrained},
        )


def forget_quality(unlearned: npt.ArrayLike, retrained: npt.ArrayLike) -> ForgetQuality:
    """Compare the truth ratios of an unlearned model with those of a retrained one.

    Traps: p falls with n at equal D, so it says nothing across sets of different size: read D and
    n. The test is on raw ratios: on min(R, 1/R) it would not see the direction. Phrasings of one
    fact are not independent: pass one ratio per fact. Two models that both know nothing may still
    differ, where one is more confident.

    Args:
        unlearned: (n,) ratios, one per fact.
        retrained: (m,) ratios of the same facts.
    """
    first, second = (np.asarray(each, dtype=np.float64) for each in (unlearned, retrained))
    with warnings.catch_warnings():
        # Where many values are equal scipy takes the asymptotic p instead of the exact one.
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation", RuntimeWarning)
        found = stats.ks_2samp(first, second)
    return ForgetQuality(
        p_value=float(found.pvalue),
        distance=float(found.statistic),
        num_unlearned=len(first),
        num_retrained=len(second),
    )
