"""The figures of a benchmark, computed from its tables alone.

Every figure is a `MetricResult`: a value with its formula, its interval (whole sources are drawn,
sources of two seeds are two) and what it was computed from. Where a figure compares two models they
were asked the same questions in the same state, unless its formula says otherwise.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nulls_dist.benchmark.unlearning import measures
from nulls_dist.benchmark.unlearning.conditions import Condition
from nulls_dist.benchmark.unlearning.lab import EXCISED, TRAINED
from nulls_dist.benchmark.unlearning.sizes import DENSE, NULLS, RETRAINED
from nulls_dist.benchmark.unlearning.tables import (
    ANSWERS,
    DOCUMENTS,
    SOURCES,
    column,
    read_tables,
    select,
)
from nulls_dist.benchmark.unlearning.world import DELETED, KEPT
from nulls_dist.eval.metrics import likelihood
from nulls_dist.eval.metrics.forget_quality import forget_quality
from nulls_dist.eval.metrics.intervals import clustered_mean, clustered_ratio
from nulls_dist.eval.metrics.result import Metric, MetricResult

Figures = dict[str, MetricResult]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A model in a state."""

    arm: str
    checkpoint: str
    state: str

    @property
    def wanted(self) -> dict[str, str]:
        """Return the columns that select it."""
        return {"arm": self.arm, "checkpoint": self.checkpoint, "state": self.state}


def _asked(arm: str, state: Condition, checkpoint: str = TRAINED) -> Asked:
    return Asked(arm=arm, checkpoint=checkpoint, state=str(state))


OWN: Final = _asked(NULLS.name, Condition.ON)
OFF: Final = _asked(NULLS.name, Condition.OFF)
EXCISED_OWN: Final = _asked(NULLS.name, Condition.ON, EXCISED)
NEAREST: Final = _asked(NULLS.name, Condition.NEAREST)
RETRAINED_OFF: Final = _asked(RETRAINED.name, Condition.OFF)
RETRAINED_NEAREST: Final = _asked(RETRAINED.name, Condition.NEAREST)
DENSE_OFF: Final = _asked(DENSE.name, Condition.OFF)
DELETIONS: Final = {
    "off": (OFF, RETRAINED_OFF),
    "excised": (EXCISED_OWN, RETRAINED_OFF),
    "nearest": (NEAREST, RETRAINED_NEAREST),
}
"""Way to be without a source -> the model in it, and the retrained one that it is compared with: an
excised source's own sinks add nothing, so that is the backbone alone."""


class Evidence:
    """The tables of a benchmark, or of some of its seeds and models.

    Attributes:
        answers, documents, sources: as `tables` describes them.
    """

    def __init__(self, answers: pa.Table, documents: pa.Table, sources: pa.Table) -> None:
        self.answers = answers
        self.documents = documents
        self.sources = sources

    @classmethod
    def read(cls, root: Path) -> "Evidence":
        """Read a benchmark's directory."""
        return cls(*(read_tables(root, kind) for kind in (ANSWERS, DOCUMENTS, SOURCES)))

    def of_seed(self, seed: int) -> "Evidence":
        """Return the part of a seed."""
        return self.of_seeds((seed,))

    def of_seeds(self, seeds: Sequence[int]) -> "Evidence":
        """Return the part of some seeds."""
        wanted = tuple(seeds)
        return Evidence(
            *(select(each, seed=wanted) for each in (self.answers, self.documents, self.sources))
        )

    def of_arms(self, arms: Sequence[str]) -> "Evidence":
        """Return the part of some models; sources are those of all."""
        wanted = tuple(arms)
        answers, documents = (select(each, arm=wanted) for each in (self.answers, self.documents))
        return Evidence(answers, documents, self.sources)

    @property
    def seeds(self) -> list[int]:
        """Return the seeds, ascending."""
        return [int(seed) for seed in np.unique(column(self.answers, "seed"))]

    @property
    def sharing_levels(self) -> list[int]:
        """Return by how many sources shared facts are stated, each number once, ascending."""
        shared = select(self.answers, kind="shared")
        return [int(each) for each in np.unique(column(shared, "multiplicity"))]

    def facts(self, asked: Asked, **wanted: Any) -> pa.Table:
        """Return a model's answers."""
        return select(self.answers, **asked.wanted, **wanted)

    def texts(self, asked: Asked, **wanted: Any) -> pa.Table:
        """Return a model's documents."""
        return select(self.documents, **asked.wanted, **wanted)


def measure(evidence: Evidence) -> Figures:
    """Compute every figure that the tables allow; those of nothing are left out."""
    figures: Figures = {}
    for part in (
        *(_isolation, _knowledge, _shared, _rules),
        *(_collateral, _general, _forget_quality),
    ):
        figures |= part(evidence)
    return figures


def clusters_of(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return a number per row that is the same for rows of one source of one seed."""
    keys = np.rec.fromarrays([column(table, "seed"), column(table, "source_id")])
    _, clusters = np.unique(keys, return_inverse=True)
    return clusters


def mean_of(metric: Metric, group: str, table: pa.Table, name: str) -> Figures:
    """Return the mean of a column as a figure, none where the table is empty."""
    if not len(table):
        return {}
    values = column(table, name).astype(np.float64)
    found = MetricResult(
        metric=metric,
        group=group,
        value=float(values.mean()),
        n=len(values),
        interval=clustered_mean(values, clusters_of(table)),
    )
    return {f"{metric.name}: {group}": found}


def difference_of(
    metric: Metric, group: str, first: pa.Table, second: pa.Table, name: str
) -> Figures:
    """Return the mean difference of a column of two models' answers to the same questions."""
    if not (len(first) and len(second)):
        return {}
    check_paired(first, second)
    values = column(first, name).astype(np.float64) - column(second, name)
    found = MetricResult(
        metric=metric,
        group=group,
        value=float(values.mean()),
        n=len(values),
        interval=clustered_mean(values, clusters_of(first)),
    )
    return {f"{metric.name}: {group}": found}


def check_paired(*answers: pa.Table) -> None:
    """Assert that rows of several models stand for the same questions, or documents, in order."""
    keys = [
        table.select(["seed", "source_id", *_identity(table)]).combine_chunks() for table in answers
    ]
    assert all(each.equals(keys[0]) for each in keys), "models were asked the same questions"


def _identity(table: pa.Table) -> tuple[str, ...]:
    return ("fact_id", "phrasing") if "fact_id" in table.column_names else ("doc_index",)


def _isolation(evidence: Evidence) -> Figures:
    figures: Figures = {}
    own = evidence.facts(OWN, group=DELETED, kind="unique")
    for name, (gone, retrained) in DELETIONS.items():
        without, never = (
            evidence.facts(asked, group=DELETED, kind="unique") for asked in (gone, retrained)
        )
        if not all(map(len, (own, without, never))):
            continue
        check_paired(own, without, never)
        right = [column(each, "correct").astype(np.float64) for each in (own, without, never)]
        figures[f"isolation: {name}"] = measures.isolation(
            *right,
            clusters=clusters_of(own),
            group=f"deleted sources, unique facts, {name}",
        )
    return figures


MODELS: Final = {
    "own sinks": OWN,
    "off": OFF,
    "off rescaled": _asked(NULLS.name, Condition.RESCALED),
    "excised": EXCISED_OWN,
    "nearest": NEAREST,
    "placebo": _asked(NULLS.name, Condition.PLACEBO),
    "retrained, off": RETRAINED_OFF,
    "retrained, nearest": RETRAINED_NEAREST,
    "dense": DENSE_OFF,
    "dense retrained": _asked("dense_active_retrained", Condition.OFF),
    "dense total": _asked("dense_total", Condition.OFF),
}
"""How a figure calls a model in a state."""


def _knowledge(evidence: Evidence) -> Figures:
    figures: Figures = {}
    for name, asked in MODELS.items():
        unique = evidence.facts(asked, group=DELETED, kind="unique")
        group = f"deleted sources, unique facts, {name}"
        figures |= mean_of(likelihood.ANSWER_ACCURACY, group, unique, "correct")
        figures |= mean_of(likelihood.PREFERENCE, group, unique, "preference")
    return figures


def _shared(evidence: Evidence) -> Figures:
    """Return how well facts are known that others state, where most of those others are left."""
    figures: Figures = {}
    states = {name: MODELS[name] for name in ("own sinks", "off", "nearest", "retrained, off")}
    for name, asked in states.items():
        shared = still_shared(evidence.facts(asked, group=DELETED, kind="shared"))
        for label, some in by_sharing(shared, evidence.sharing_levels).items():
            group = f"deleted sources, shared by {label}, {name}"
            figures |= mean_of(measures.SHARED_ACCURACY, group, some, "correct")
    return figures


def by_sharing(shared: pa.Table, levels: Collection[int]) -> dict[str, pa.Table]:
    """Split answers by how many sources state their facts; those of many also make up a part."""
    numbers = column(shared, "multiplicity")
    sharing = np.array(measures.describe_sharing(numbers, levels), dtype=str)
    parts = {str(label): shared.filter(pa.array(sharing == label)) for label in np.unique(sharing)}
    many = shared.filter(pa.array(numbers >= measures.MANY))
    return {**parts, f"{measures.MANY} or more": many}


def still_shared(answers: pa.Table) -> pa.Table:
    """Return the answers about facts of which two thirds of the world's sources are left."""
    keep = 3 * column(answers, "remaining") >= 2 * column(answers, "multiplicity")
    return answers.filter(pa.array(keep))


def _rules(evidence: Evidence) -> Figures:
    figures: Figures = {}
    for name, (gone, retrained) in DELETIONS.items():
        ours, theirs = (
            evidence.facts(asked, group=DELETED, kind="inferable") for asked in (gone, retrained)
        )
        group = f"deleted sources, rule-based facts, {name}"
        for label, table in (("", ours), (" retrained", theirs)):
            figures |= mean_of(likelihood.ANSWER_ACCURACY, group + label, table, "correct")
        found = difference_of(measures.ACCURACY_DIFFERENCE, group, ours, theirs, "correct")
        figures |= found | {
            f"{measures.ZERO_DISTANCE.name}: {group}": measures.distance_of_zero(result)
            for result in found.values()
        }
    return figures


def _collateral(evidence: Evidence) -> Figures:
    before, after = (
        evidence.facts(asked, group=KEPT, kind="unique") for asked in (OWN, EXCISED_OWN)
    )
    figures: Figures = {}
    for name, table in (("before", before), ("after", after)):
        group = f"kept sources, unique facts, own sinks, {name} excision"
        figures |= mean_of(likelihood.ANSWER_ACCURACY, group, table, "correct")
    if not all(map(len, (before, after, evidence.sources))):
        return figures
    check_paired(before, after)
    lost = column(before, "correct").astype(np.float64) - column(after, "correct")
    kept = select(evidence.sources, group=KEPT)
    forecast = measures.look_up(before, select(kept, asked=True), "lost_share")
    figures |= measures.collateral(
        lost, forecast, clusters_of(before), planned=float(column(kept, "lost_share").mean())
    )
    shared = measures.look_up(before, kept, "max_shared")
    return figures | measures.collateral_by_overlap(lost, forecast, shared, clusters_of(before))


TEXTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "validation text of kept sources": {"group": KEPT, "validation": True},
    "text of unseen sources": {"group": "unseen"},
    "text of deleted sources": {"group": DELETED, "validation": False},
}


def _general(evidence: Evidence) -> Figures:
    figures: Figures = {}
    for text, wanted in TEXTS.items():
        for name, asked in MODELS.items():
            table = evidence.texts(asked, **wanted)
            figures |= measures.perplexity(f"{text}, {name}", table, clusters_of)
    own, dense = (
        evidence.texts(asked, **TEXTS["validation text of kept sources"])
        for asked in (OWN, DENSE_OFF)
    )
    if len(own) and len(dense):
        check_paired(own, dense)
        excess = column(own, "nll") - column(dense, "nll")
        tokens = column(own, "num_tokens")
        figures[measures.LOSS_DIFFERENCE.name] = MetricResult(
            metric=measures.LOSS_DIFFERENCE,
            group="validation text of kept sources",
            value=float(excess.sum() / tokens.sum()),
            n=int(tokens.sum()),
            interval=clustered_ratio(excess, tokens, clusters_of(own)),
        )
    return figures


def _forget_quality(evidence: Evidence) -> Figures:
    figures: Figures = {}
    for name, (gone, retrained) in DELETIONS.items():
        ratios = [
            truth_ratios(evidence.facts(asked, group=DELETED, kind="unique"))
            for asked in (gone, retrained)
        ]
        if all(map(len, ratios)):
            group = f"deleted sources, unique facts, {name}"
            found = forget_quality(*ratios).to_result(group)
            figures[f"{found.metric.name}: {group}"] = found
    return figures


def truth_ratios(answers: pa.Table) -> npt.NDArray[np.float64]:
    """Return one truth ratio per fact: phrasings of one are averaged, geometrically.

    Those of a collapsed model may be infinite, which a test of ranks does not mind.
    """
    means = answers.group_by(["seed", "source_id", "fact_id"]).aggregate(
        [("log_truth_ratio", "mean")]
    )
    with np.errstate(over="ignore"):
        ratios: npt.NDArray[np.float64] = np.exp(column(means, "log_truth_ratio_mean"))
    return ratios
