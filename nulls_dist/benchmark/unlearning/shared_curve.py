"""Delete the sources that share a fact one after another: when is it gone?

Every fact is deleted from by itself, from the trained model, in memory. The first of its sources to
go is asked about it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np

from nulls_dist.attacks.wiping import Wipe, WipeForm, wipe_sinks
from nulls_dist.benchmark.generated import draw_sources
from nulls_dist.benchmark.unlearning import tables
from nulls_dist.benchmark.unlearning.conditions import Condition
from nulls_dist.benchmark.unlearning.evaluation import Questions, read_questions
from nulls_dist.benchmark.unlearning.lab import EXCISED, Lab
from nulls_dist.benchmark.unlearning.sizes import NULLS
from nulls_dist.benchmark.unlearning.world import DELETED
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import FACTS_FILE
from nulls_dist.eval.facts import Probe, read_probes
from nulls_dist.eval.inference import InferenceModel, load_for_inference
from nulls_dist.model.gpt import is_sink

FOLDER: Final = "curves/shared"
STEP: Final = "curves/shared"
STATES: Final = (Condition.OFF, Condition.NEAREST)
_REMAINING: Final = (0, 1, 2, 5, 9, 20, 29)
_FACTS: Final = 8
"""Per number of sources that state a fact; each is shared by other sources than the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedFact:
    """A fact and the sources of the corpus that state it."""

    members: tuple[int, ...]
    """In the order in which they are deleted."""
    probes: tuple[Probe, ...]
    """Of the first of them."""

    @property
    def deletions(self) -> list[tuple[int, ...]]:
        """Return the sources that go, nested, until all are gone."""
        count = len(self.members)
        return [
            self.members[: count - remaining]
            for remaining in sorted(_REMAINING, reverse=True)
            if remaining < count
        ]


def choose_facts(
    probes: Sequence[Probe], order: Sequence[int], *, most: int = _FACTS
) -> list[SharedFact]:
    """Choose facts of every multiplicity.

    Args:
        probes: of all sources in the corpus.
        order: those sources, in the order of a hash; it chooses facts and orders their members.
        most: facts per multiplicity.
    """
    place = {source_id: number for number, source_id in enumerate(order)}
    shared = [probe for probe in probes if probe.kind == "shared"]
    chosen: dict[int, list[SharedFact]] = {}
    seen: set[tuple[int, ...]] = set()
    for probe in sorted(shared, key=lambda probe: (place[probe.source_id], probe.fact_id)):
        facts = chosen.setdefault(probe.multiplicity, [])
        if probe.member_ids not in seen and len(facts) < most:
            seen.add(probe.member_ids)
            facts.append(_fact(probe, shared, place))
    return [fact for multiplicity in sorted(chosen) for fact in chosen[multiplicity]]


def _fact(probe: Probe, shared: Sequence[Probe], place: Mapping[int, int]) -> SharedFact:
    """Return the fact that a probe of its first member asks for, with all phrasings."""
    members = sorted((each for each in probe.member_ids if each in place), key=place.__getitem__)
    same = (probe.source_id, probe.fact_id)
    return SharedFact(
        members=tuple(members),
        probes=tuple(each for each in shared if (each.source_id, each.fact_id) == same),
    )


def ask_shared(lab: Lab, seed: int) -> None:
    """Delete and ask, unless that is done."""
    lab.once(seed, STEP, partial(_ask, lab, seed))


def _ask(lab: Lab, seed: int) -> dict[str, Any]:
    questions = read_questions(lab, seed)
    everyone = np.unique(Corpus(lab.corpus(seed)).source_ids)
    probes = read_probes(questions.world.root / FACTS_FILE, everyone.tolist())
    facts = choose_facts(probes, draw_sources(everyone, seed=seed))
    root = lab.checkpoint(seed, NULLS)
    with load_for_inference(root, route_deleted=True) as model:
        about = {"seed": seed, "arm": NULLS.name, "checkpoint": EXCISED}
        rows = [
            {**about, **row}
            for fact in facts
            for row in _ask_fact(model, Checkpoint(root), questions, fact)
        ]
    tables.write_table(
        lab.table(f"{FOLDER}/{tables.ANSWERS}", f"seed-{seed}"), tables.ANSWERS, rows
    )
    return {"num_facts": len(facts), "num_answers": len(rows)}


def _ask_fact(
    model: InferenceModel, checkpoint: Checkpoint, questions: Questions, fact: SharedFact
) -> Iterator[dict[str, Any]]:
    with model.changed_weights(lambda name, values: values if is_sink(name) else None):
        for deleted in fact.deletions:
            wipe_sinks(model, checkpoint, Wipe(form=WipeForm.EXCISED, source_ids=deleted))
            asked = replace(
                questions,
                groups=replace(questions.groups, deleted=deleted, kept=()),
                group_of=dict.fromkeys(deleted, DELETED),
                probes=fact.probes,
            )
            for condition in STATES:
                for row in asked.ask(model, condition):
                    yield {"state": str(condition), **row}
