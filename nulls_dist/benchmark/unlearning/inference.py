"""Membership inference on the stored scores: are the deleted sources' documents told from unseen?

Members are the deleted sources' documents that models were trained on, others those of sources of
the same world that no model saw. Scores of different models have no common scale, so
a value of several seeds is the mean of theirs.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nulls_dist.benchmark.unlearning.conditions import Condition
from nulls_dist.benchmark.unlearning.figures import (
    DELETIONS,
    DENSE_OFF,
    OWN,
    Asked,
    Evidence,
    Figures,
)
from nulls_dist.benchmark.unlearning.lab import TRAINED
from nulls_dist.benchmark.unlearning.sizes import DENSE_RETRAINED, RETRAINED
from nulls_dist.benchmark.unlearning.tables import MEMBERSHIP_SCORES, Floats, column
from nulls_dist.benchmark.unlearning.world import DELETED, UNSEEN
from nulls_dist.eval.metrics import membership
from nulls_dist.eval.metrics.intervals import CONFIDENCE, NUM_RESAMPLES
from nulls_dist.eval.metrics.result import Interval, Metric, MetricResult

_RETRAINED_OWN: Final = Asked(arm=RETRAINED.name, checkpoint=TRAINED, state=Condition.ON.value)
_DENSE_RETRAINED: Final = Asked(
    arm=DENSE_RETRAINED.name, checkpoint=TRAINED, state=Condition.OFF.value
)
_ATTACKED: Final = {
    "own sinks": (OWN, _RETRAINED_OWN),
    "off": DELETIONS["off"],
    "nearest": DELETIONS["nearest"],
    "dense": (DENSE_OFF, _DENSE_RETRAINED),
}
"""Model -> it, and the retrained one that it is compared with and that is the reference model.

Not the excised sources' own sinks: an unseen source's are others', trained, which tells it from a
wiped one whatever the model remembers. Without them the excised model is the one that is off."""
_MIN_SOURCES: Final = 2
_SEED: Final = 0

Statistic = Callable[[npt.ArrayLike, npt.ArrayLike], float]


def measure_membership(evidence: Evidence) -> Figures:
    """Return AUC, true positives and PrivLeak of every attack on every model."""
    figures: Figures = {}
    for name, (attacked, retrained) in _ATTACKED.items():
        samples, reference = (samples_of(evidence, each) for each in (attacked, retrained))
        if not all(map(len, (*samples, *reference))):
            continue
        aucs = {}
        for label, tables in ((name, samples), (f"{name}, retrained", reference)):
            found = {
                metric: rate_attack(metric, label, tables, [column(each, key) for each in tables])
                for key, metric in MEMBERSHIP_SCORES.items()
            }
            figures |= {f"{metric.label}: {label}": each for metric, each in found.items()}
            figures |= _true_positives(label, tables)
            aucs[label] = found[membership.MIN_K].value
        figures |= _reference_attack(name, samples, reference)
        figures |= _priv_leak(name, *aucs.values(), n=len(samples[0]))
    return figures


def samples_of(evidence: Evidence, asked: Asked) -> tuple[pa.Table, pa.Table]:
    """Return a model's scores of the documents of members and of others."""
    members, others = (
        evidence.texts(asked, group=group, validation=False) for group in (DELETED, UNSEEN)
    )
    return members, others


def rate_attack(
    metric: Metric, label: str, tables: tuple[pa.Table, pa.Table], scores: list[Floats]
) -> MetricResult:
    """Return the AUC of one attack, the mean over seeds.

    Args:
        metric: the attack.
        label: what was attacked.
        tables: documents of members and of others.
        scores: of each, in the same order.
    """
    seeds = [column(table, "seed") for table in tables]
    clusters = [column(table, "source_id") for table in tables]
    wins = [
        _wins_of_sources(*parts)
        for parts in zip(*_by_seed(scores, seeds), *_by_seed(clusters, seeds), strict=True)
    ]
    return MetricResult(
        metric=metric,
        group=label,
        value=mean_over_seeds(membership.auc, scores, seeds),
        n=len(tables[0]),
        interval=_interval(wins),
        details={"n_others": len(tables[1])},
    )


def mean_over_seeds(
    statistic: Statistic, scores: list[Floats], seeds: list[npt.NDArray[np.int64]]
) -> float:
    """Return the mean of a statistic of members and others over seeds.

    Args:
        statistic: of members' and others' scores.
        scores: (n,) of the members, (m,) of the others.
        seeds: of which seed each is, likewise.
    """
    return float(
        np.mean([statistic(*parts) for parts in zip(*_by_seed(scores, seeds), strict=True)])
    )


def _by_seed(
    values: list[npt.NDArray[Any]], seeds: list[npt.NDArray[np.int64]]
) -> list[list[npt.NDArray[Any]]]:
    """Return the values of members and of others, each per seed."""
    return [
        [each[of == seed] for seed in np.unique(of)] for each, of in zip(values, seeds, strict=True)
    ]


def _wins_of_sources(
    members: Floats, others: Floats, member_sources: Floats, other_sources: Floats
) -> tuple[Floats, Floats]:
    """Return (C, D) pairs of a member and another text that are told right, and all such pairs.

    By source: C of the members, D of the others. Resamples of whole sources weigh their rows and
    columns, so that no pair is compared twice.
    """
    wins = (members[:, None] < others) + 0.5 * (members[:, None] == others)
    rows, columns = (
        (each == np.unique(each)[:, None]).astype(np.float64)
        for each in (member_sources, other_sources)
    )
    return rows @ wins @ columns.T, rows.sum(1)[:, None] * columns.sum(1)


def _interval(wins: list[tuple[Floats, Floats]]) -> Interval | None:
    """Return the interval of the mean AUC over seeds; sources are drawn within each seed."""
    num_sources = min(min(pairs.shape) for _, pairs in wins)
    if num_sources < _MIN_SOURCES:
        return None
    draws = np.random.default_rng(_SEED)
    total = np.zeros(NUM_RESAMPLES)
    for right, pairs in wins:
        weights = [
            draws.multinomial(size, np.full(size, 1 / size), NUM_RESAMPLES).astype(np.float64)
            for size in pairs.shape
        ]
        told, all_pairs = (
            np.einsum("rc,cd,rd->r", weights[0], each, weights[1], optimize=True)
            for each in (right, pairs)
        )
        total += told / all_pairs
    low, high = np.quantile(total / len(wins), ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(
        low=float(low),
        high=float(high),
        confidence=CONFIDENCE,
        num_sources=num_sources,
        method=f"percentile bootstrap of {NUM_RESAMPLES} resamples of whole sources in each seed",
    )


def _true_positives(label: str, tables: tuple[pa.Table, pa.Table]) -> Figures:
    """Return true positives of the loss; no interval: one false alarm more or less decides."""
    scores, seeds = ([column(table, name) for table in tables] for name in ("loss", "seed"))
    metric = membership.TRUE_POSITIVES
    result = MetricResult(
        metric=metric,
        group=label,
        value=mean_over_seeds(membership.true_positive_rate, scores, seeds),
        n=len(tables[0]),
        details={"n_others": len(tables[1])},
    )
    return {f"{metric.label}: {label}": result}


def _reference_attack(
    name: str, samples: tuple[pa.Table, pa.Table], reference: tuple[pa.Table, pa.Table]
) -> Figures:
    scores = [
        column(ours, "loss") - column(theirs, "loss")
        for ours, theirs in zip(samples, reference, strict=True)
    ]
    metric = membership.REFERENCE
    return {f"{metric.label}: {name}": rate_attack(metric, name, samples, scores)}


def _priv_leak(name: str, unlearned: float, retrained: float, *, n: int) -> Figures:
    result = MetricResult(
        metric=membership.PRIV_LEAK,
        group=name,
        value=membership.priv_leak(unlearned, retrained),
        n=n,
        details={"AUC_u": unlearned, "AUC_r": retrained},
    )
    return {f"{membership.PRIV_LEAK.name}: {name}": result}
