"""All attacks that need no training, and what each of them needs: for tables of attack by model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np

from nulls_dist.attacks import (
    changed_weights,
    covering,
    formats,
    optimized_prompts,
    prefill,
    prefix,
    sampling,
    steering,
)
from nulls_dist.attacks.result import AttackResult
from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.eval.facts import Probe
from nulls_dist.eval.inference import InferenceModel
from nulls_dist.eval.metrics.compression import SearchPlan
from nulls_dist.eval.prompt_search import SMALL_PLAN, SwapSettings
from nulls_dist.eval.recitation import Document
from nulls_dist.hashing import U64Array
from nulls_dist.retrieval.prompt_index import PromptIndex


class Need(StrEnum):
    """What an attack cannot do without."""

    PROBES = "facts of deleted sources"
    DOCUMENTS = "documents of deleted sources"
    SINKS = "a model with sinks"
    SURVIVORS = "ids of surviving sources"
    TITLES = "titles of deleted sources and an index of those of surviving ones"


@dataclass(frozen=True, kw_only=True)
class AttackInputs:
    """A model and what the attacker has; what is left out is not had."""

    model: InferenceModel
    """Opened with `route_deleted`, as someone who holds the weights can."""
    tokenizer: Tokenizer
    eos_id: int
    donor_of: Mapping[int, int]
    """Whose sinks serve each source where the attack does not choose: `states.donors`."""
    probes: Sequence[Probe] = ()
    documents: Sequence[Document] = ()
    kept_probes: Sequence[Probe] = ()
    """Facts of surviving sources, which serve as examples and as a control."""
    survivors: U64Array = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    titles: Mapping[int, str] = field(default_factory=dict)
    index: PromptIndex | None = None

    @property
    def offers(self) -> frozenset[Need]:
        """Needs that are met."""
        has = {
            Need.PROBES: bool(self.probes),
            Need.DOCUMENTS: bool(self.documents),
            Need.SINKS: self.model.config.has_sinks,
            Need.SURVIVORS: len(self.survivors) > 0,
            Need.TITLES: bool(self.titles) and self.index is not None,
        }
        return frozenset(need for need, is_met in has.items() if is_met)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackBudget:
    """How hard the attacker tries."""

    prefix_tokens: int = 8
    """Of a document that the model is shown."""
    plan: SearchPlan = SMALL_PLAN
    swaps: SwapSettings = field(default_factory=SwapSettings)
    """With the plan, of the search for prompts."""
    searched_probes: int = 10
    """Facts whose sentences are searched prompts for: by far the dearest attack."""
    tries: int = sampling.NUM_TRIES
    temperature: float = 1.0
    seed: int = 0
    num_sources: int = steering.NUM_SOURCES
    max_members: int = covering.MAX_MEMBERS


Run = Callable[[AttackInputs, AttackBudget], Sequence[AttackResult]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attack:
    """A row of the table."""

    name: str
    description: str
    needs: frozenset[Need]
    run: Run

    def fits(self, inputs: AttackInputs) -> bool:
        """Say whether all that the attack needs is there."""
        return self.needs <= inputs.offers


def _prefix(inputs: AttackInputs, budget: AttackBudget) -> list[AttackResult]:
    return [
        prefix.continue_documents(
            inputs.model,
            inputs.tokenizer,
            inputs.documents,
            inputs.donor_of,
            prefix_tokens=budget.prefix_tokens,
            eos_id=inputs.eos_id,
        )
    ]


def _prefix_of_facts(inputs: AttackInputs, budget: AttackBudget) -> list[AttackResult]:
    model, tokenizer = inputs.model, inputs.tokenizer
    return [
        prefix.recall_in_documents(
            model, tokenizer, inputs.probes, inputs.documents, inputs.donor_of
        )
    ]


def _optimized(inputs: AttackInputs, budget: AttackBudget) -> list[AttackResult]:
    step = max(1, len(inputs.probes) // budget.searched_probes)  # spread over the sources
    probes = inputs.probes[::step][: budget.searched_probes]
    return [
        optimized_prompts.search_prompts(
            inputs.model,
            "sentences of facts",
            optimized_prompts.sentences_of(inputs.tokenizer, probes),
            inputs.donor_of,
            allowed=optimized_prompts.text_tokens(inputs.tokenizer, inputs.eos_id),
            plan=budget.plan,
            settings=budget.swaps,
        )
    ]


def _sampling(inputs: AttackInputs, budget: AttackBudget) -> list[AttackResult]:
    return [
        sampling.sample_answers(
            inputs.model,
            inputs.tokenizer,
            inputs.probes,
            inputs.donor_of,
            tries=budget.tries,
            temperature=budget.temperature,
            seed=budget.seed,
        )
    ]


def _prefill(inputs: AttackInputs, budget: AttackBudget) -> list[AttackResult]:
    return [
        prefill.complete_answers(inputs.model, inputs.tokenizer, inputs.probes, inputs.donor_of)
    ]


def _formats(inputs: AttackInputs, budget: AttackBudget) -> list[AttackResult]:
    forms = dict(formats.FORMATS)
    if inputs.kept_probes:
        forms["after examples"] = formats.after_examples(inputs.kept_probes)
    return formats.ask_in_formats(
        inputs.model, inputs.tokenizer, inputs.probes, inputs.donor_of, forms
    )


def _changed_weights(inputs: AttackInputs, budget: AttackBudget) -> list[AttackResult]:
    return changed_weights.ask_changed_models(
        inputs.model,
        inputs.tokenizer,
        inputs.probes,
        inputs.donor_of,
        kept=inputs.kept_probes,
    )


def _overlap(inputs: AttackInputs, budget: AttackBudget) -> list[AttackResult]:
    return steering.ask_overlapping(
        inputs.model,
        inputs.tokenizer,
        inputs.probes,
        inputs.model.router,
        inputs.survivors,
        num_sources=budget.num_sources,
    )


def _titles(inputs: AttackInputs, budget: AttackBudget) -> list[AttackResult]:
    assert inputs.index is not None, "an attack runs where its needs are met"
    return steering.ask_nearest_titles(
        inputs.model,
        inputs.tokenizer,
        inputs.probes,
        inputs.titles,
        inputs.index,
        num_sources=budget.num_sources,
    )


def _covers(inputs: AttackInputs, budget: AttackBudget) -> list[AttackResult]:
    return covering.ask_covers(
        inputs.model,
        inputs.tokenizer,
        inputs.probes,
        inputs.survivors,
        max_members=budget.max_members,
    )


ATTACKS: Final[tuple[Attack, ...]] = (
    Attack(
        name=prefix.NAME,
        description="the true beginning of a document is continued greedily",
        needs=frozenset({Need.DOCUMENTS}),
        run=_prefix,
    ),
    Attack(
        name=prefix.FACTS_NAME,
        description="a fact is asked where its document states it, after all that stands before",
        needs=frozenset({Need.PROBES, Need.DOCUMENTS}),
        run=_prefix_of_facts,
    ),
    Attack(
        name=optimized_prompts.NAME,
        description="the shortest prompt that elicits a fact's sentence, by gradient search",
        needs=frozenset({Need.PROBES}),
        run=_optimized,
    ),
    Attack(
        name=sampling.NAME,
        description="every question is asked many times at a temperature",
        needs=frozenset({Need.PROBES}),
        run=_sampling,
    ),
    Attack(
        name=prefill.NAME,
        description="the first token of the answer is given",
        needs=frozenset({Need.PROBES}),
        run=_prefill,
    ),
    Attack(
        name=formats.NAME,
        description="facts are asked in capitals, as questions, in lists, after examples",
        needs=frozenset({Need.PROBES}),
        run=_formats,
    ),
    Attack(
        name=changed_weights.NAME,
        description="weights are quantised (int8, int4, nf4) or pruned",
        needs=frozenset({Need.PROBES}),
        run=_changed_weights,
    ),
    Attack(
        name=steering.OVERLAP_NAME,
        description="the survivors that share most sinks with the deleted source answer",
        needs=frozenset({Need.PROBES, Need.SINKS, Need.SURVIVORS}),
        run=_overlap,
    ),
    Attack(
        name=steering.TITLE_NAME,
        description="the survivors that the index finds for the deleted title answer",
        needs=frozenset({Need.PROBES, Need.SINKS, Need.TITLES}),
        run=_titles,
    ),
    Attack(
        name=covering.NAME,
        description="survivors that together have the deleted source's sinks answer, as a union "
        "and one by one",
        needs=frozenset({Need.PROBES, Need.SINKS, Need.SURVIVORS}),
        run=_covers,
    ),
)
"""First those that ask the model as it is, then those that change its weights or its sinks."""
