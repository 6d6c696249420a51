"""Ask a checkpoint everything, and write down each answer."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from nulls_dist.benchmark.own_process import run_alone
from nulls_dist.benchmark.unlearning import tables
from nulls_dist.benchmark.unlearning.conditions import Condition, conditions_of, in_condition
from nulls_dist.benchmark.unlearning.lab import Lab, open_lab
from nulls_dist.benchmark.unlearning.sizes import ARMS, Arm
from nulls_dist.benchmark.unlearning.world import Groups, read_groups
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import FACTS_FILE
from nulls_dist.data.tokenizer import Tokenizer, load_tokenizer
from nulls_dist.eval.fact_likelihood import FactAnswer, weigh_answers
from nulls_dist.eval.facts import Probe, read_probes
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.eval.membership_attack import attack
from nulls_dist.eval.metrics.memorization import extraction_strength
from nulls_dist.eval.recitation import Document, accuracies, score_documents
from nulls_dist.eval.states import donors
from nulls_dist.eval.token_scores import LanguageModel

_MIN_TOKENS: Final = 2
_ALL: Final = 1 << 32


def evaluate(lab: Lab, seed: int, arm: Arm, checkpoint: str) -> None:
    """Ask a checkpoint in a process of its own, unless that is done.

    Args:
        lab: the benchmark.
        seed: the seed.
        arm: whose checkpoint.
        checkpoint: its name.
    """
    step = f"ask-{arm.name}-{checkpoint}"
    ask = partial(run_alone, _ask_checkpoint, lab.root, seed, arm.name, checkpoint)
    lab.once(seed, step, ask)


def _ask_checkpoint(root: Path, seed: int, arm_name: str, checkpoint: str) -> dict[str, Any]:
    torch.set_num_threads(1)  # two checkpoints are asked at once
    lab = open_lab(root)
    (arm,) = (each for each in ARMS if each.name == arm_name)
    questions = read_questions(lab, seed)
    answers: list[dict[str, Any]] = []
    documents: list[dict[str, Any]] = []
    with load_for_inference(lab.checkpoint(seed, arm, checkpoint), route_deleted=True) as model:
        for condition in conditions_of(arm, checkpoint):
            about = {
                "seed": seed,
                "arm": arm.name,
                "checkpoint": checkpoint,
                "state": str(condition),
            }
            asked = questions.ask(model, condition)
            answers += [{**about, **row} for row in asked]
            scored = questions.score(model, condition, model.config.context_length)
            documents += [{**about, **row} for row in scored]
    name = f"seed-{seed}-{arm.name}-{checkpoint}"
    tables.write_table(lab.table(tables.ANSWERS, name), tables.ANSWERS, answers)
    tables.write_table(lab.table(tables.DOCUMENTS, name), tables.DOCUMENTS, documents)
    return {"num_answers": len(answers), "num_documents": len(documents)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Questions:
    """What every model of a seed is asked."""

    world: Corpus
    tokenizer: Tokenizer
    groups: Groups
    group_of: Mapping[int, str]
    probes: Sequence[Probe]
    num_trained: Mapping[int, int]
    """Source -> how many of its documents models are trained on, the first ones; others of it are
    for validation. Of sources that no model sees all documents count alike."""

    def ask(self, model: LanguageModel, condition: Condition) -> Iterator[dict[str, Any]]:
        """Ask about facts; yield rows of the table of answers, without what names the model."""
        asked = sorted({probe.source_id for probe in self.probes})
        donor_of = self._donors(condition, asked)
        found = weigh_answers(in_condition(model, condition), self.tokenizer, self.probes, donor_of)
        numbers: Counter[tuple[int, str]] = Counter()
        for answer in found:
            fact = answer.probe.source_id, answer.probe.fact_id
            yield self._answer_row(answer, numbers[fact])
            numbers[fact] += 1

    def score(
        self, model: LanguageModel, condition: Condition, max_tokens: int
    ) -> Iterator[dict[str, Any]]:
        """Score documents, cut after so many tokens; yield rows of their table likewise."""
        asked = [source for _, sources in self.groups.items() for source in sources]
        donor_of = self._donors(condition, asked)
        for source_id in asked:
            yield from self._score_source(
                in_condition(model, condition), source_id, donor_of, max_tokens
            )

    def _donors(self, condition: Condition, asked: Sequence[int]) -> Mapping[int, int]:
        return donors(condition.state, self.world, asked, deleted=self.groups.lacking)

    def _answer_row(self, answer: FactAnswer, phrasing: int) -> dict[str, Any]:
        probe = answer.probe
        taught = [source for source in probe.member_ids if source in self.num_trained]
        deleted = set(self.groups.deleted)
        return {
            "group": self.group_of[probe.source_id],
            "source_id": probe.source_id,
            "fact_id": probe.fact_id,
            "kind": probe.kind,
            "attribute": probe.attribute,
            "phrasing": phrasing,
            "held_out": probe.held_out,
            "multiplicity": probe.multiplicity,
            "taught": len(taught),
            "remaining": sum(source not in deleted for source in taught),
            "correct": answer.is_right,
            "nll": answer.right,
            "wrong_nll": list(answer.wrong),
        }

    def _score_source(
        self,
        model: LanguageModel,
        source_id: int,
        donor_of: Mapping[int, int],
        max_tokens: int,
    ) -> Iterator[dict[str, Any]]:
        numbers = [
            number
            for number in self.world.documents_of(source_id)
            if self.world.lengths[number] >= _MIN_TOKENS
        ]
        documents = [
            Document(
                source_id=source_id, tokens=tuple(self.world.tokens(number)[:max_tokens].tolist())
            )
            for number in numbers
        ]
        scores = score_documents(model, documents, donor_of)
        eos_id = self.world.manifest.tokenizer.eos_id
        attacked = attack(documents, scores, self.tokenizer, eos_id=eos_id)
        right = accuracies(scores)
        for place, number in enumerate(numbers):
            doc_index = int(self.world.doc_indices[number])
            yield {
                "group": self.group_of[source_id],
                "source_id": source_id,
                "doc_index": doc_index,
                "validation": doc_index >= self.num_trained.get(source_id, _ALL),
                "num_tokens": len(scores[place].tokens),
                "nll": -scores[place].log_likelihood,
                "accuracy": right[place],
                "extraction": extraction_strength(scores[place].choices, scores[place].tokens),
                **{
                    name: float(attacked.scores[metric][place])
                    for name, metric in tables.MEMBERSHIP_SCORES.items()
                },
            }


def read_questions(lab: Lab, seed: int) -> Questions:
    """Return what is asked of a seed whose world is built."""
    world = Corpus(lab.world(seed))
    groups = read_groups(lab, seed)
    asked = [
        *groups.deleted,
        *groups.kept,
        *groups.unseen[: lab.size.unseen_asked],
    ]
    sources, counts = np.unique(Corpus(lab.corpus(seed)).source_ids, return_counts=True)
    return Questions(
        world=world,
        tokenizer=load_tokenizer(world.root, world.manifest.tokenizer),
        groups=groups,
        group_of={source: group for group, sources in groups.items() for source in sources},
        probes=read_probes(world.root / FACTS_FILE, asked),
        num_trained=dict(zip(sources.tolist(), counts.tolist(), strict=True)),
    )
