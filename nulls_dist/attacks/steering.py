"""Let other sources' sinks answer, chosen by the attacker: those most like the deleted ones.

Whoever may name a surviving source for every text needs no hold on the weights. On excised weights
the sinks shared with a deleted source say nothing any more; on suppressed ones they do.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from tqdm import tqdm

from nulls_dist.attacks.best_of import best_of
from nulls_dist.attacks.result import AttackResult
from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.eval.fact_likelihood import FactAnswer, fact_results, weigh_answers
from nulls_dist.eval.facts import Probe
from nulls_dist.eval.metrics.coverage import LARGEST_OVERLAP
from nulls_dist.eval.metrics.intervals import clustered_mean
from nulls_dist.eval.metrics.result import MetricResult
from nulls_dist.eval.token_scores import LanguageModel
from nulls_dist.hashing import U64Array
from nulls_dist.retrieval.prompt_index import PromptIndex
from nulls_dist.routing.router import Router
from nulls_dist.routing.sink_sets import count_sinks, slots_of
from nulls_dist.sources import NO_SOURCE
from nulls_dist.unlearn.overlap import NUM_LARGEST, measure_overlaps

OVERLAP_NAME: Final = "steering by overlap"
TITLE_NAME: Final = "steering by title"
NUM_SOURCES: Final = 3

Ranking = Mapping[int, Sequence[int]]
"""Deleted source -> survivors that may answer for it, the most promising first."""


def ask_overlapping(
    model: LanguageModel,
    tokenizer: Tokenizer,
    probes: Sequence[Probe],
    router: Router,
    survivors: U64Array,
    *,
    num_sources: int = NUM_SOURCES,
) -> list[AttackResult]:
    """Ask with the sinks of the survivors that share most sinks with the deleted source.

    Args:
        model: the model.
        tokenizer: of its corpus.
        probes: facts of deleted sources.
        router: the model's, without the tombstones of the probes' sources.
        survivors: (S,) ids, ascending.
        num_sources: survivors per deleted source, at most `unlearn.overlap.NUM_LARGEST`.

    Returns:
        One result per rank, and the best of all ranks with the largest overlap.

    Raises:
        RefusedError: the router refuses a deleted source.
    """
    assert 1 <= num_sources <= NUM_LARGEST, "as many as are listed"
    deleted = sorted({probe.source_id for probe in probes})
    largest = {
        source_id: overlap.largest
        for source_id, overlap in measure_overlaps(router, survivors, deleted)
    }
    ids = np.array(deleted, dtype=np.uint64)
    num_slots = count_sinks(slots_of(router, ids))
    shares = [
        max((shared for _, shared in largest[source_id]), default=0) / max(1, int(slots))
        for source_id, slots in zip(deleted, num_slots, strict=True)
    ]
    overlap = MetricResult(
        metric=LARGEST_OVERLAP,
        group="deleted sources",
        value=float(np.mean(shares)),
        n=len(shares),
        interval=clustered_mean(shares, ids),
        details={"max": max(shares)},
    )
    ranking = {
        source_id: [other for other, _ in pairs[:num_sources]]
        for source_id, pairs in largest.items()
    }
    *ranks, best = _ask_by_rank(OVERLAP_NAME, model, tokenizer, probes, ranking, num_sources)
    whole = AttackResult(
        attack=best.attack,
        setting=best.setting,
        options=best.options,
        results=(overlap, *best.results),
    )
    return [*ranks, whole]


def ask_nearest_titles(
    model: LanguageModel,
    tokenizer: Tokenizer,
    probes: Sequence[Probe],
    titles: Mapping[int, str],
    index: PromptIndex,
    *,
    num_sources: int = NUM_SOURCES,
) -> list[AttackResult]:
    """Ask with the sinks that the index of titles finds for the deleted source's own title.

    Args:
        model: the model.
        tokenizer: of its corpus.
        probes: facts of deleted sources.
        titles: of those sources.
        index: of the model's surviving sources.
        num_sources: candidates per title.

    Returns:
        One result per rank, and the best of all ranks.

    Raises:
        IntegrityError: the index is damaged.
    """
    ranking = {
        source_id: [found.source_id for found in index.search(titles[source_id], num_sources)]
        for source_id in sorted({probe.source_id for probe in probes})
    }
    return _ask_by_rank(TITLE_NAME, model, tokenizer, probes, ranking, num_sources)


def _ask_by_rank(
    attack: str,
    model: LanguageModel,
    tokenizer: Tokenizer,
    probes: Sequence[Probe],
    ranking: Ranking,
    num_sources: int,
) -> list[AttackResult]:
    """Ask once per rank; where a source has fewer survivors to try, the backbone answers."""
    attempts: list[tuple[str, Sequence[FactAnswer]]] = []
    for rank in tqdm(range(num_sources), "ranks", disable=None, leave=False):
        donor_of = {
            source_id: ranked[rank] if rank < len(ranked) else NO_SOURCE
            for source_id, ranked in ranking.items()
        }
        answers = weigh_answers(model, tokenizer, probes, donor_of)
        attempts.append((f"rank {rank + 1}", answers))
    attempts.append((f"best of {num_sources}", best_of([answers for _, answers in attempts])))
    num_ranked = [len(ranked) for ranked in ranking.values()]
    return [
        AttackResult(
            attack=attack,
            setting=setting,
            options={"num_sources": num_sources, "fewest_found": min(num_ranked)},
            results=tuple(fact_results(answers)),
        )
        for setting, answers in attempts
    ]
