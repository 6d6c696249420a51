"""The models of a seed as their attackers see them, and what they are asked."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from nulls_dist.attacks.catalogue import AttackInputs
from nulls_dist.benchmark.unlearning.efforts import Effort
from nulls_dist.benchmark.unlearning.lab import EXCISED, SUPPRESSED, TRAINED, Lab
from nulls_dist.benchmark.unlearning.rival_models import put_weights, unlearn_rival
from nulls_dist.benchmark.unlearning.sizes import DENSE, DENSE_RETRAINED, NULLS, RETRAINED, Arm
from nulls_dist.benchmark.unlearning.world import read_groups
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import FACTS_FILE, SOURCES_FILE
from nulls_dist.data.source_table import SourceTable
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.eval.facts import Probe, read_probes
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.eval.recitation import Document, read_documents
from nulls_dist.retrieval.checkpoint_index import open_index
from nulls_dist.retrieval.encoder import NgramEncoder
from nulls_dist.retrieval.prompt_index import PromptIndex
from nulls_dist.sources import NO_SOURCE


@dataclass(frozen=True, kw_only=True, slots=True)
class Attacked:
    """A model under attack."""

    name: str
    arm: Arm
    checkpoint: str
    uses_own_sinks: bool = False
    """Whether the sinks of a deleted source serve its text: whoever holds the weights and knows the
    router's hash can compute its mask. In the retrained model, which never saw the source, others
    trained them: there the backbone alone is what a perfect deletion leaves."""
    rival: str | None = None
    """Post-hoc method that unlearned it; it is made where that is not done."""


ATTACKED: Final = (
    Attacked(name="suppressed", arm=NULLS, checkpoint=SUPPRESSED, uses_own_sinks=True),
    Attacked(name="excised", arm=NULLS, checkpoint=EXCISED, uses_own_sinks=True),
    Attacked(name="retrained", arm=RETRAINED, checkpoint=TRAINED),
    Attacked(name="dense", arm=DENSE, checkpoint=TRAINED),
    Attacked(name="dense retrained", arm=DENSE_RETRAINED, checkpoint=TRAINED),
    Attacked(name="dense, ascent", arm=DENSE, checkpoint=TRAINED, rival="gradient-ascent"),
    Attacked(name="dense, NPO", arm=DENSE, checkpoint=TRAINED, rival="npo"),
)
"""The weights of the suppressed model are those of the trained one. Served with its tombstones it
answers as the excised one does, by the backbone alone, so that this is not asked twice. Two rivals,
tuned as `rival_efforts` says, are attacked for contrast."""


def attack_step(name: str, attacked: Attacked) -> str:
    """Return the name of the step in which an attack is made on a model."""
    return f"attacks/{name}-{attacked.name}".replace(",", "").replace(" ", "-")


@contextmanager
def open_attacked(
    lab: Lab, seed: int, attacked: Attacked, effort: Effort
) -> Iterator[AttackInputs]:
    """Open a model with everything its attackers have, for the duration of a block.

    Only unique facts are asked: whoever still knows a shared or a rule-based one betrays nothing.
    """
    if attacked.rival is not None:
        unlearn_rival(lab, seed, attacked.rival)
    root = lab.checkpoint(seed, attacked.arm, attacked.checkpoint)
    world, groups = Corpus(lab.world(seed)), read_groups(lab, seed)
    deleted, kept = groups.deleted[: effort.sources], groups.kept[: effort.kept_sources]
    titles = SourceTable(world.root / SOURCES_FILE).titles_of(list(deleted))
    has_sinks = attacked.arm.has_sinks
    index: AbstractContextManager[PromptIndex | None] = (
        open_index(Checkpoint(root), None, NgramEncoder()) if has_sinks else nullcontext()
    )
    with load_for_inference(root, route_deleted=True) as model, index as opened:
        if attacked.rival is not None:
            put_weights(lab, seed, attacked.rival, model.weights())
        yield AttackInputs(
            model=model,
            tokenizer=load_tokenizer(world.root, world.manifest.tokenizer),
            eos_id=world.manifest.tokenizer.eos_id,
            donor_of=_donors(attacked, deleted, kept),
            probes=unique_probes(world, deleted),
            documents=_documents(lab, seed, deleted, effort, model.config.context_length),
            kept_probes=unique_probes(world, kept),
            survivors=np.unique(Corpus(lab.corpus(seed, is_retrained=True)).source_ids),
            titles=dict(zip(deleted, titles, strict=True)),
            index=opened,
        )


def restrict(inputs: AttackInputs, source_ids: Sequence[int]) -> AttackInputs:
    """Return inputs that attack some of their deleted sources only."""
    chosen = set(source_ids)
    return replace(
        inputs,
        probes=[probe for probe in inputs.probes if probe.source_id in chosen],
        documents=[each for each in inputs.documents if each.source_id in chosen],
        titles={source: title for source, title in inputs.titles.items() if source in chosen},
    )


def unique_probes(world: Corpus, source_ids: Sequence[int]) -> list[Probe]:
    """Return the facts that one of the sources states alone, source by source.

    Every fact in one phrasing that documents use and in one that was held out: more phrasings of a
    fact tell little more, and cost as much.
    """
    chosen: dict[tuple[int, str, bool], Probe] = {}
    for probe in read_probes(world.root / FACTS_FILE, source_ids):
        if probe.kind == "unique":
            chosen.setdefault((probe.source_id, probe.fact_id, probe.held_out), probe)
    place = {source_id: number for number, source_id in enumerate(source_ids)}
    return sorted(chosen.values(), key=lambda probe: place[probe.source_id])


def _donors(attacked: Attacked, deleted: Sequence[int], kept: Sequence[int]) -> Mapping[int, int]:
    """Return whose sinks serve each source; kept ones have their own wherever there are any."""
    own = {source_id: source_id for source_id in (*deleted, *kept)}
    if not attacked.arm.has_sinks:
        return dict.fromkeys(own, NO_SOURCE)
    return own if attacked.uses_own_sinks else own | dict.fromkeys(deleted, NO_SOURCE)


def _documents(
    lab: Lab, seed: int, deleted: Sequence[int], effort: Effort, max_tokens: int
) -> list[Document]:
    """Return the first documents of each source that models were trained on."""
    corpus = Corpus(lab.corpus(seed))
    return [
        document
        for source_id in deleted
        for document in read_documents(corpus, [source_id], max_tokens=max_tokens)[
            : effort.documents
        ]
    ]
