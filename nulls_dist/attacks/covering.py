"""Activate the survivors that together have a deleted source's sinks: one by one, and as a union.

The upper bound is the deleted source's own mask, for whoever holds the weights and computes it. The
control is the union without the deleted source's own sinks: what it does not give back, the union
owes to sinks that were the deleted source's, too. On excised weights the two are equal.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from torch import Tensor
from tqdm import tqdm

from nulls_dist.attacks.best_of import best_of
from nulls_dist.attacks.result import AttackResult
from nulls_dist.attacks.set_cover import Cover, cover_sources
from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.eval.fact_likelihood import FactAnswer, fact_results, weigh_answers
from nulls_dist.eval.facts import Probe
from nulls_dist.eval.inference import InferenceModel
from nulls_dist.eval.metrics.coverage import COVER_SIZE, COVERED_SHARE
from nulls_dist.eval.metrics.intervals import clustered_mean
from nulls_dist.eval.metrics.result import MetricResult
from nulls_dist.hashing import U64Array
from nulls_dist.sources import NO_SOURCE

NAME: Final = "covering survivors"
MAX_MEMBERS: Final = 64
NUM_SINGLE: Final = 8
"""Members of a cover that are also asked one by one."""


class UnionModel:
    """A model whose text is served by the sinks of several sources at once."""

    def __init__(
        self,
        model: InferenceModel,
        members_of: Mapping[int, Sequence[int]],
        excluded_of: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        """Say who serves.

        Args:
            model: the model.
            members_of: source -> whose sinks serve its text; for none the backbone alone.
            excluded_of: source -> whose sinks are off meanwhile.
        """
        self._model = model
        self._members_of = members_of
        self._excluded_of = excluded_of or {}

    def logits(self, texts: Sequence[Sequence[int]], source_ids: Sequence[int]) -> list[Tensor]:
        """Return next-token logits, (tokens, vocab_size) per text, on the CPU.

        Raises:
            RefusedError: a member was deleted.
        """
        answered: dict[int, Tensor] = {}
        for source_id in dict.fromkeys(source_ids):
            places = [place for place, other in enumerate(source_ids) if other == source_id]
            chosen = [texts[place] for place in places]
            answered |= zip(places, self._answer(chosen, source_id), strict=True)
        return [answered[place] for place in range(len(texts))]

    def _answer(self, texts: Sequence[Sequence[int]], source_id: int) -> list[Tensor]:
        members = self._members_of[source_id]
        if not members:
            return self._model.logits(texts, [NO_SOURCE] * len(texts))
        excluded = self._excluded_of.get(source_id, ())
        return self._model.union_logits(texts, members, excluded=excluded)


def ask_covers(
    model: InferenceModel,
    tokenizer: Tokenizer,
    probes: Sequence[Probe],
    survivors: U64Array,
    *,
    max_members: int = MAX_MEMBERS,
    num_single: int = NUM_SINGLE,
) -> list[AttackResult]:
    """Cover each deleted source by survivors and ask with their sinks.

    Args:
        model: opened with `route_deleted`.
        tokenizer: of its corpus.
        probes: facts of deleted sources.
        survivors: (S,) ids, ascending.
        max_members: survivors of a cover.
        num_single: of these, how many are asked one by one.

    Returns:
        The covers with the answers of their unions; the control without the deleted sources' own
        sinks; the best of single members; the deleted sources' own masks.

    Raises:
        RefusedError: the model was opened without `route_deleted`.
    """
    deleted = sorted({probe.source_id for probe in probes})
    covers = list(cover_sources(model.router, survivors, deleted, max_members=max_members))
    members_of = {cover.source_id: cover.members for cover in covers}
    own = {source_id: source_id for source_id in deleted}
    excluded_of = {source_id: [source_id] for source_id in deleted}

    def ask(asked: UnionModel) -> list[FactAnswer]:
        return weigh_answers(asked, tokenizer, probes, own)

    ways: Mapping[str, Callable[[], list[FactAnswer]]] = {
        "union": lambda: ask(UnionModel(model, members_of)),
        "union without the own sinks": lambda: ask(UnionModel(model, members_of, excluded_of)),
        "best of single members": lambda: _ask_singles(
            model, tokenizer, probes, members_of, num_single
        ),
        "own mask": lambda: weigh_answers(model, tokenizer, probes, own),
    }
    options = {"max_members": max_members, "num_single": num_single}
    return [
        AttackResult(
            attack=NAME,
            setting=setting,
            options=options,
            results=(*cover_results(covers), *fact_results(answer())),
        )
        for setting, answer in tqdm(ways.items(), "ways", disable=None, leave=False)
    ]


def cover_results(covers: Sequence[Cover]) -> list[MetricResult]:
    """Return how many survivors were chosen, and the share of slots that they have."""
    sources = np.array([cover.source_id for cover in covers], dtype=np.uint64)
    sizes = [len(cover.members) for cover in covers]
    shares = [cover.share for cover in covers]
    num_complete = sum(share == 1 for share in shares)
    return [
        MetricResult(
            metric=metric,
            group="deleted sources",
            value=float(np.mean(values)),
            n=len(covers),
            interval=clustered_mean(values, sources),
            details=details,
        )
        for metric, values, details in (
            (COVER_SIZE, sizes, {"min": min(sizes), "max": max(sizes)}),
            (COVERED_SHARE, shares, {"num_complete": num_complete, "min": min(shares)}),
        )
    ]


def _ask_singles(
    model: InferenceModel,
    tokenizer: Tokenizer,
    probes: Sequence[Probe],
    members_of: Mapping[int, Sequence[int]],
    num_single: int,
) -> list[FactAnswer]:
    attempts = []
    for number in range(num_single):
        donor_of = {
            source_id: members[number] if number < len(members) else NO_SOURCE
            for source_id, members in members_of.items()
        }
        attempts.append(weigh_answers(model, tokenizer, probes, donor_of))
    return best_of(attempts)
