"""Can a benchmark tell anything? How much of the deleted sources was known in the first place.

What was never known cannot be seen to be forgotten. A fact counts as known of its source where the
model answers it with the source's own sinks and the retrained model, which never saw the source,
does not. `judge_power` returns

    num_facts, num_known              unique facts of deleted sources, and those known
    num_sources, num_sources_known    deleted sources, and those with a known fact
    accuracy, guessing                right answers with own sinks, and of the retrained model
    added                             their difference, with its interval: null for one source
    unnoticed                         share of sources that may leak though none was seen to
    verdict                           what follows, in a sentence or two

Where none of k sources leaks, with 95 % confidence fewer than 1 - 0.05^(1/k) of such sources do
(Clopper and Pearson, Biometrika 26, 1934; about 3/k).
"""

from dataclasses import asdict
from typing import Any, Final

import numpy as np

from nulls_dist.benchmark.unlearning.figures import (
    OWN,
    RETRAINED_OFF,
    Evidence,
    check_paired,
    clusters_of,
)
from nulls_dist.benchmark.unlearning.tables import column
from nulls_dist.benchmark.unlearning.world import DELETED
from nulls_dist.eval.metrics.intervals import CONFIDENCE, clustered_mean
from nulls_dist.eval.metrics.result import Interval

_FEW_SOURCES: Final = 20


def judge_power(evidence: Evidence) -> dict[str, Any]:
    """Return how much there was to forget, and what can be told of it."""
    own, retrained = (
        evidence.facts(asked, group=DELETED, kind="unique") for asked in (OWN, RETRAINED_OFF)
    )
    if not (len(own) and len(retrained)):
        return {"verdict": "No unique fact of a deleted source was asked: nothing can be told."}
    check_paired(own, retrained)
    right, guessed = (column(each, "correct").astype(np.float64) for each in (own, retrained))
    sources = clusters_of(own)
    keys = np.rec.fromarrays([sources, column(own, "fact_id").astype(str)])
    is_known = (right > guessed).astype(np.bool_)
    num_known = len(np.unique(sources[is_known]))
    added = clustered_mean(right - guessed, sources)
    unnoticed = 1 - (1 - CONFIDENCE) ** (1 / num_known) if num_known else 1.0
    return {
        "num_facts": len(np.unique(keys)),
        "num_known": len(np.unique(keys[is_known])),
        "num_sources": len(np.unique(sources)),
        "num_sources_known": num_known,
        "accuracy": float(right.mean()),
        "guessing": float(guessed.mean()),
        "added": None if added is None else asdict(added),
        "unnoticed": unnoticed,
        "verdict": verdict(added, num_known=num_known, unnoticed=unnoticed),
    }


def verdict(added: Interval | None, *, num_known: int, unnoticed: float) -> str:
    """Say what can be told of deletion.

    Args:
        added: interval of what the sources added to the share of right answers.
        num_known: deleted sources with a known fact.
        unnoticed: share of sources that may leak though none was seen to.
    """
    if not num_known:
        return "Nothing can be told: the model knew no unique fact of a deleted source."
    if added is None:
        return "Nothing can be told beyond the one deleted source: it has no interval."
    if added.low <= 0:
        return (
            f"Nothing can be told: what the deleted sources added, [{added.low:.3f}, "
            f"{added.high:.3f}] of right answers, may be nothing."
        )
    few = f" Intervals of fewer than {_FEW_SOURCES} sources are too narrow."
    return (
        f"Forgetting can be told: the deleted sources added [{added.low:.3f}, {added.high:.3f}] of "
        f"right answers, and {num_known} of them have a known fact. Where none of these leaks, up "
        f"to {unnoticed:.0%} of such sources still may ({CONFIDENCE:.0%} confidence)."
        f"{few if num_known < _FEW_SOURCES else ''}"
    )
