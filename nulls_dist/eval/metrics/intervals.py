"""How far a value may be off: a bootstrap that draws whole sources, not single facts.

Facts of one source, and phrasings of one fact, are forgotten together. Drawing them one by one
would count them as independent and give intervals that are far too narrow.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from nulls_dist.eval.metrics.result import Interval

Rows = npt.NDArray[np.int64]
CONFIDENCE: Final = 0.95
"""Share of resamples inside an interval."""
NUM_RESAMPLES: Final = 2000
_MIN_CLUSTERS: Final = 2
_SEED: Final = 0
_BATCH: Final = 100
"""Resamples drawn at once; bounds memory."""


def clustered_interval(
    statistic: Callable[..., float], *clusters: npt.ArrayLike
) -> Interval | None:
    """Return a percentile bootstrap interval of a statistic, resampled by cluster.

    Every resample draws as many clusters as there are, with replacement, and takes all rows of
    each. Several samples (members and non-members) are drawn independently of each other.

    Args:
        statistic: of one array of row numbers per sample; rows may repeat.
        clusters: per sample (rows,), whose cluster each row is: the id of its source.

    Returns:
        None where a sample has fewer than two clusters: then nothing is known about others.
        With fewer than about twenty clusters, intervals of this kind are somewhat too narrow.

    Source: Cameron, Gelbach, Miller: Bootstrap-based improvements for inference with clustered
    errors (2008), the pairs cluster bootstrap; scipy.stats.bootstrap draws.
    """
    members = [_rows_by_cluster(np.asarray(each)) for each in clusters]
    if min(map(len, members)) < _MIN_CLUSTERS:
        return None

    def of_clusters(*drawn: Rows) -> float:
        return statistic(
            *(
                np.concatenate([rows[number] for number in numbers])
                for rows, numbers in zip(members, drawn, strict=True)
            )
        )

    places = [np.arange(len(rows)) for rows in members]
    return _bootstrap(places, of_clusters, vectorized=False)


def clustered_ratio(
    numerators: npt.ArrayLike, denominators: npt.ArrayLike, clusters: npt.ArrayLike
) -> Interval | None:
    """Return the interval of sum(numerators) / sum(denominators), as `clustered_interval` would.

    Args:
        numerators: (rows,) such as nats of each document.
        denominators: (rows,) such as its tokens.
        clusters: (rows,) whose source each is.
    """
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    above, below = (np.bincount(index, np.asarray(each)) for each in (numerators, denominators))
    if len(above) < _MIN_CLUSTERS:
        return None

    def of_clusters(drawn: Rows, axis: int) -> npt.NDArray[np.float64]:
        ratios: npt.NDArray[np.float64] = above[drawn].sum(axis) / below[drawn].sum(axis)
        return ratios

    return _bootstrap([np.arange(len(above))], of_clusters, vectorized=True)


def clustered_mean(values: npt.ArrayLike, clusters: npt.ArrayLike) -> Interval | None:
    """Return the interval of a mean: (n,) values and (n,) whose source each belongs to."""
    return clustered_ratio(values, np.ones(len(np.asarray(values))), clusters)


def _bootstrap(
    places: Sequence[Rows], statistic: Callable[..., Any], *, vectorized: bool
) -> Interval:
    found: Any = stats.bootstrap(
        places,
        statistic,
        n_resamples=NUM_RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        vectorized=vectorized,
        batch=_BATCH if vectorized else 1,
        rng=np.random.default_rng(_SEED),
    )
    return Interval(
        low=float(found.confidence_interval.low),
        high=float(found.confidence_interval.high),
        confidence=CONFIDENCE,
        num_sources=min(map(len, places)),
        method=f"percentile bootstrap of {NUM_RESAMPLES} resamples of whole sources",
    )


def _rows_by_cluster(clusters: npt.NDArray[Any]) -> list[Rows]:
    _, index = np.unique(clusters, return_inverse=True)
    order = np.argsort(index, kind="stable")
    return np.split(order, np.cumsum(np.bincount(index))[:-1])
