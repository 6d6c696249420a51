"""Measures of this benchmark that the general ones lack, each with its formula."""

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nulls_dist.benchmark.unlearning.tables import Floats, column
from nulls_dist.eval.metrics import likelihood
from nulls_dist.eval.metrics.intervals import clustered_mean, clustered_ratio
from nulls_dist.eval.metrics.result import Direction, Interval, Metric, MetricResult

Clusters = npt.NDArray[np.int64]
MANY: Final = 10
"""Sources that state a fact so often that deleting some cannot matter."""
_FEW: Final = 4
"""Numbers of sources that are told apart; where facts have more of them, ranges are."""

_INF: Final = float("inf")
_OURS: Final = "this project"

ISOLATION: Final = Metric(
    name="isolation",
    variant="unique facts, all phrasings",
    formula="(acc_on - acc_deleted) / (acc_on - acc_retrained)",
    direction=Direction.FORGOTTEN,
    lowest=-_INF,
    highest=_INF,
    source=_OURS,
)
SHARED_ACCURACY: Final = likelihood.ANSWER_ACCURACY.with_variant(
    "greedy, full stop included; facts of which two thirds of the world's sources are left"
)
ACCURACY_DIFFERENCE: Final = Metric(
    name="difference to retrained",
    variant="answer accuracy",
    formula="acc_deleted - acc_retrained, the same questions in the same state",
    direction=Direction.NONE,
    lowest=-1.0,
    source=_OURS,
)
ZERO_DISTANCE: Final = Metric(
    name="distance of the interval from 0",
    variant="answer accuracy, deleted minus retrained",
    formula="max(0, low, -high) of the interval of acc_deleted - acc_retrained",
    direction=Direction.NONE,
    source=_OURS,
)
COLLATERAL_FOUND: Final = Metric(
    name="collateral found",
    variant="unique facts of kept sources, own sinks",
    formula="acc_before - acc_after",
    direction=Direction.NONE,
    lowest=-1.0,
    source=_OURS,
)
COLLATERAL_FORECAST: Final = Metric(
    name="collateral forecast",
    variant="sinks of kept sources",
    formula="mean share of a source's (layer, sink) slots that the deletion overwrites",
    direction=Direction.NONE,
    source="nulls_dist.unlearn.collateral",
)
COLLATERAL_EXCESS: Final = Metric(
    name="collateral beyond the forecast",
    variant="unique facts of kept sources that are asked",
    formula="mean_i (acc_before - acc_after - share of its sinks that is overwritten)",
    direction=Direction.NONE,
    lowest=-2.0,
    source=_OURS,
)
TEXT_LOSS: Final = Metric(
    name="loss",
    variant="nats per token",
    formula="sum NLL / sum T",
    direction=Direction.NONE,
    highest=_INF,
    source=_OURS,
)
LOSS_DIFFERENCE: Final = Metric(
    name="validation loss beyond the dense model's",
    variant="nats per token, own sinks against equal active size",
    formula="sum (NLL_nulls - NLL_dense) / sum T, renderings that no model is trained on",
    direction=Direction.NONE,
    lowest=-_INF,
    highest=_INF,
    source=_OURS,
)


def describe_sharing(multiplicities: Iterable[int], levels: Collection[int]) -> list[str]:
    """Say by how many sources each fact is shared: by its number, or by a range of them.

    Args:
        multiplicities: of the facts, at least 2.
        levels: the different ones of all facts that are shown together. A generated world has few,
            real text about as many as sources.
    """
    if len(levels) <= _FEW:
        return [str(each) for each in multiplicities]
    return [
        "2" if each == 2 else f"3 to {MANY - 1}" if each < MANY else f"{MANY} or more"
        for each in multiplicities
    ]


def isolation(
    own: Floats, deleted: Floats, retrained: Floats, *, clusters: Clusters, group: str
) -> MetricResult:
    """Return which share of what the sources' sinks added a deletion takes away.

    Args:
        own: (n,) 0 or 1, whether the model with the sources' own sinks answers right.
        deleted: the same questions without them.
        retrained: the same, by the model that was trained without the sources.
        clusters: whose question each is.
        group: what was asked.
    """
    lost, added = own - deleted, own - retrained
    total = float(added.sum())
    return MetricResult(
        metric=ISOLATION,
        group=group,
        value=float(lost.sum()) / total if total else float("nan"),
        n=len(own),
        interval=_finite(clustered_ratio(lost, added, clusters)) if total else None,
        details={
            "acc_on": float(own.mean()),
            "acc_deleted": float(deleted.mean()),
            "acc_retrained": float(retrained.mean()),
        },
    )


def _finite(interval: Interval | None) -> Interval | None:
    """Return an interval unless a resample had nothing to divide by."""
    ends = () if interval is None else (interval.low, interval.high)
    return interval if np.isfinite(ends).all() else None


def distance_of_zero(difference: MetricResult) -> MetricResult:
    """Return how far an interval is from 0: 0 where the two models may be equal."""
    interval = difference.interval
    ends = (difference.value,) * 2 if interval is None else (interval.low, interval.high)
    return MetricResult(
        metric=ZERO_DISTANCE,
        group=difference.group,
        value=max(0.0, ends[0], -ends[1]),
        n=difference.n,
    )


def collateral(
    lost: Floats, forecast: Floats, clusters: Clusters, *, planned: float
) -> dict[str, MetricResult]:
    """Return what kept sources lost, what was forecast, and the difference.

    Args:
        lost: (n,) -1, 0 or 1, right before minus right after.
        forecast: (n,) the share of its source's sinks that is overwritten.
        clusters: (n,) whose question each is.
        planned: mean of that share over all kept sources, also those not asked.
    """
    excess = lost - forecast
    results = [
        MetricResult(
            metric=metric,
            group="kept sources",
            value=value,
            n=len(lost),
            interval=None if values is None else clustered_mean(values, clusters),
        )
        for metric, value, values in (
            (COLLATERAL_FOUND, float(lost.mean()), lost),
            (COLLATERAL_FORECAST, planned, None),
            (COLLATERAL_EXCESS, float(excess.mean()), excess),
        )
    ]
    return {result.metric.name: result for result in results}


def collateral_by_overlap(
    lost: Floats, forecast: Floats, shared: Floats, clusters: Clusters
) -> dict[str, MetricResult]:
    """Return what kept sources lost by how much they overlap with the nearest deleted source.

    Sources fall into three groups of about equal size, by the share of their sinks that they have
    in common with the deleted source nearest to them in the pool.

    Args:
        lost: as `collateral` takes it.
        forecast: likewise.
        shared: (n,) that share.
        clusters: likewise.
    """
    ends = np.quantile(shared, (1 / 3, 2 / 3))
    places = np.searchsorted(ends, shared, side="left")
    results = {}
    for place, name in enumerate(("least", "middle", "most")):
        rows = places == place
        if rows.any():
            group = f"kept sources, {name} overlap"
            results[f"{COLLATERAL_FOUND.name}: {group}"] = MetricResult(
                metric=COLLATERAL_FOUND,
                group=group,
                value=float(lost[rows].mean()),
                n=int(rows.sum()),
                interval=clustered_mean(lost[rows], clusters[rows]),
                details={
                    "forecast": float(forecast[rows].mean()),
                    "overlap_from": float(shared[rows].min()),
                    "overlap_to": float(shared[rows].max()),
                },
            )
    return results


def perplexity(
    group: str, documents: pa.Table, clusters_of: Callable[[pa.Table], Clusters]
) -> dict[str, MetricResult]:
    """Return the perplexity of documents as a figure, none where there are none."""
    if not len(documents):
        return {}
    nll, tokens = column(documents, "nll"), column(documents, "num_tokens")
    metric = likelihood.PERPLEXITY
    between = clustered_ratio(nll, tokens, clusters_of(documents))
    result = MetricResult(
        metric=metric,
        group=group,
        value=likelihood.perplexity(nll, tokens),
        n=int(tokens.sum()),
        interval=between
        and Interval(
            low=float(np.exp(between.low)),
            high=float(np.exp(between.high)),
            confidence=between.confidence,
            num_sources=between.num_sources,
            method=between.method,
        ),
    )
    return {f"{metric.name}: {group}": result}


def text_loss(group: str, documents: pa.Table, clusters: Clusters) -> MetricResult:
    """Return the loss of documents, at least one: of collapsed models, too, a finite number."""
    nll, tokens = column(documents, "nll"), column(documents, "num_tokens")
    return MetricResult(
        metric=TEXT_LOSS,
        group=group,
        value=float(nll.sum() / tokens.sum()),
        n=int(tokens.sum()),
        interval=clustered_ratio(nll, tokens, clusters),
    )


def look_up(rows: pa.Table, sources: pa.Table, name: str) -> Floats:
    """Return a column of the table of sources for each row of another table: (n,)."""
    values: dict[tuple[Any, Any], float] = dict(
        zip(
            zip(column(sources, "seed"), column(sources, "source_id"), strict=True),
            column(sources, name),
            strict=True,
        )
    )
    keys = zip(column(rows, "seed"), column(rows, "source_id"), strict=True)
    return np.array([values[key] for key in keys])
