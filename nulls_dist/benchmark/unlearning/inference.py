"""Membership inference on the stored scores: are the deleted sources' documents told from unseen?

Members are the deleted sources' documents that models were trained on, others the same renderings
of sources of the same world that no model saw. Scores of different models have no common scale, so
a value of several seeds is the mean of theirs.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nulls_dist.benchmark.unlearning.figures import (
    DENSE_OFF,
    EXCISED_OWN,
    NEAREST,
    OFF,
    OWN,
    RETRAINED_NEAREST,
    RETRAINED_OFF,
    Asked,
    Evidence,
    Figures,
    clusters_of,
)
from nulls_dist.benchmark.unlearning.sizes import DENSE_RETRAINED
from nulls_dist.benchmark.unlearning.tables import Floats, column
from nulls_dist.benchmark.unlearning.world import DELETED, UNSEEN
from nulls_dist.eval.metrics import membership
from nulls_dist.eval.metrics.intervals import clustered_interval
from nulls_dist.eval.metrics.result import Metric, MetricResult

_DENSE_RETRAINED: Final = Asked(arm=DENSE_RETRAINED.name, checkpoint="trained", state="off")
_ATTACKED: Final = {
    "own sinks": (OWN, Asked(arm="nulls_retrained", checkpoint="trained", state="on")),
    "off": (OFF, RETRAINED_OFF),
    "excised": (EXCISED_OWN, RETRAINED_OFF),
    "nearest": (NEAREST, RETRAINED_NEAREST),
    "dense": (DENSE_OFF, _DENSE_RETRAINED),
}
"""Model -> it, and the retrained one that it is compared with and that is the reference model."""
_COLUMNS: Final = {
    "loss": membership.LOSS,
    "zlib": membership.ZLIB,
    "min_k": membership.MIN_K,
    "min_k_plus": membership.MIN_K_PLUS,
}

Statistic = Callable[[npt.ArrayLike, npt.ArrayLike], float]


def measure_membership(evidence: Evidence) -> Figures:
    """Return AUC, true positives and PrivLeak of every attack on every model."""
    figures: Figures = {}
    for name, (attacked, retrained) in _ATTACKED.items():
        samples, reference = (_samples(evidence, each) for each in (attacked, retrained))
        if not all(map(len, (*samples, *reference))):
            continue
        aucs = {}
        for label, tables in ((name, samples), (f"{name}, retrained", reference)):
            found = {
                metric: _rate(metric, label, tables, [column(each, key) for each in tables])
                for key, metric in _COLUMNS.items()
            }
            figures |= {f"{metric.label}: {label}": each for metric, each in found.items()}
            figures |= _true_positives(label, tables)
            aucs[label] = found[membership.MIN_K].value
        figures |= _reference_attack(name, samples, reference)
        figures |= _priv_leak(name, *aucs.values(), n=len(samples[0]))
    return figures


def _samples(evidence: Evidence, asked: Asked) -> tuple[pa.Table, pa.Table]:
    members, others = (
        evidence.texts(asked, group=group, validation=False) for group in (DELETED, UNSEEN)
    )
    return members, others


def _rate(
    metric: Metric, label: str, tables: tuple[pa.Table, pa.Table], scores: list[Floats]
) -> MetricResult:
    """Return the AUC of one attack, the mean over seeds."""
    seeds = [column(table, "seed") for table in tables]

    def of_rows(*rows: npt.NDArray[np.int64]) -> float:
        drawn = [values[each] for values, each in zip(scores, rows, strict=True)]
        of_seeds = [values[each] for values, each in zip(seeds, rows, strict=True)]
        return mean_over_seeds(membership.auc, drawn, of_seeds)

    return MetricResult(
        metric=metric,
        group=label,
        value=mean_over_seeds(membership.auc, scores, seeds),
        n=len(tables[0]),
        interval=clustered_interval(of_rows, *map(clusters_of, tables)),
        details={"n_others": len(tables[1])},
    )


def mean_over_seeds(
    statistic: Statistic, scores: list[Floats], seeds: list[npt.NDArray[np.int64]]
) -> float:
    """Return the mean of a statistic of members and others over the seeds that have both.

    Args:
        statistic: of members' and others' scores.
        scores: (n,) of the members, (m,) of the others.
        seeds: of which seed each is, likewise.
    """
    common = np.intersect1d(*seeds)
    values = [
        statistic(*(each[of == seed] for each, of in zip(scores, seeds, strict=True)))
        for seed in common
    ]
    return float(np.mean(values))


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
    return {f"{metric.label}: {name}": _rate(metric, name, samples, scores)}


def _priv_leak(name: str, unlearned: float, retrained: float, *, n: int) -> Figures:
    result = MetricResult(
        metric=membership.PRIV_LEAK,
        group=name,
        value=membership.priv_leak(unlearned, retrained),
        n=n,
        details={"AUC_u": unlearned, "AUC_r": retrained},
    )
    return {f"{membership.PRIV_LEAK.name}: {name}": result}
