"""What the backbone alone knows of all sources that are asked about, and how settings change it.

It was trained on the deleted sources like on those that are kept, and no deletion changes it: with
both there are more questions than with the deleted ones.
"""

from typing import Any, Final

import pyarrow as pa

from nulls_dist.benchmark.unlearning.figures import (
    OFF,
    Evidence,
    Figures,
    by_sharing,
    difference_of,
    mean_of,
)
from nulls_dist.benchmark.unlearning.tables import column
from nulls_dist.benchmark.unlearning.world import DELETED, KEPT
from nulls_dist.eval.metrics import likelihood
from nulls_dist.eval.metrics.result import Direction, Metric

CHANGE: Final = Metric(
    name="change",
    variant="mean over the questions, paired",
    formula="value of the changed model - value of the benchmark's own, the same seeds",
    direction=Direction.NONE,
    lowest=-1.0,
    source="nulls_dist.benchmark.unlearning.backbone",
)

_GROUP: Final = "deleted and kept sources"
_UNIQUE: Final = "unique facts"


def measure_backbone(evidence: Evidence) -> Figures:
    """Return its preference for right answers, and its right answers by who shares a fact.

    A shared fact counts once, however many of its sources are asked, and where models were trained
    on two thirds of those that state it.
    """
    figures: Figures = {}
    for facts, answers in _answers(evidence).items():
        group = f"{_GROUP}, {facts}, off"
        figures |= mean_of(likelihood.ANSWER_ACCURACY, group, answers, "correct")
        if facts == _UNIQUE:
            figures |= mean_of(likelihood.PREFERENCE, group, answers, "preference")
    return figures


def compare_backbones(changed: Evidence, own: Evidence) -> Figures:
    """Return how a changed model's backbone differs from that of the benchmark's own model.

    Args:
        changed: of the changed model.
        own: of the benchmark's own, the same seeds.
    """
    figures: Figures = {}
    theirs = _answers(own)
    for facts, answers in _answers(changed).items():
        name = "preference" if facts == _UNIQUE else "correct"
        group = f"{_GROUP}, {facts}, off, {name}"
        figures |= difference_of(CHANGE, group, answers, theirs[facts], name)
    return figures


def _answers(evidence: Evidence) -> dict[str, pa.Table]:
    """Return the backbone's answers by kind of fact."""
    asked = {"group": (DELETED, KEPT)}
    shared = _once(evidence.facts(OFF, kind="shared", **asked))
    taught = 3 * column(shared, "taught") >= 2 * column(shared, "multiplicity")
    parts = by_sharing(shared.filter(pa.array(taught)), evidence.sharing_levels)
    return {
        _UNIQUE: evidence.facts(OFF, kind="unique", **asked),
        **{f"shared by {label}": part for label, part in parts.items()},
    }


def _once(answers: pa.Table) -> pa.Table:
    """Return each question once: without sinks, several sources give it the same answer."""
    keys = zip(*(column(answers, name) for name in ("seed", "fact_id", "phrasing")), strict=True)
    first: dict[tuple[Any, ...], int] = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    return answers.take(pa.array(list(first.values()), pa.int64()))
