"""Evaluation along the way, and the rule that stops a run."""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torch import nn

from nulls_dist.errors import ConfigError
from nulls_dist.eval.recitation import accuracies
from nulls_dist.eval.token_scores import LanguageModel, Passage, TokenScores, score_passages
from nulls_dist.posthoc.causal_model import Answers, device_of, own_random_numbers
from nulls_dist.posthoc.contract import Example, Request
from nulls_dist.posthoc.ledger import Meter
from nulls_dist.posthoc.plan import StopRule
from nulls_dist.posthoc.replicas import ALONE, Replicas
from nulls_dist.sources import NO_SOURCE

Evaluate = Callable[[LanguageModel], Mapping[str, float]]
"""Measures a model; returns scores by name, the same names every time."""


class Unit(StrEnum):
    """What an evaluation's place counts."""

    STEP = "step"
    STRENGTH = "strength"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Scores of a model on its way."""

    at: float
    unit: Unit
    scores: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; numbers that JSON lacks become null."""
        scores = {
            name: value if math.isfinite(value) else None for name, value in self.scores.items()
        }
        return {"at": self.at, "unit": self.unit.value, "scores": scores}


class Evaluations:
    """Evaluates a model, keeps the scores and says whether to stop.

    Attributes:
        done: so far, in order.
    """

    def __init__(
        self, evaluate: Evaluate | None, rule: StopRule | None, replicas: Replicas = ALONE
    ) -> None:
        """Take the callback and the rule, each None for off.

        All processes evaluate; the first one's scores are everybody's, so that all stop together.

        Raises:
            ConfigError: a rule has nothing to look at.
        """
        if rule is not None and evaluate is None:
            raise ConfigError(
                f"plan.stop looks at the score {rule.score!r}, but nothing is evaluated; pass "
                "evaluate or leave plan.stop out"
            )
        self.done: list[Evaluation] = []
        self._evaluate = evaluate
        self._rule = rule
        self._replicas = replicas

    def stops(self, model: nn.Module, at: float, unit: Unit, meter: Meter | None = None) -> bool:
        """Evaluate, and say whether the rule is met.

        Args:
            model: what is evaluated.
            at: how far the run is.
            unit: what `at` counts.
            meter: of a measured block around this, which the evaluation is left out of.

        Raises:
            ConfigError: the rule's score is not among the evaluated ones.
        """
        if self._evaluate is None:
            return False
        with meter.paused() if meter else nullcontext(), own_random_numbers(device_of(model)):
            found = self._evaluate(Answers(model))
            names = list(found)
            agreed = self._replicas.of_first([found[name] for name in names])
        scores = dict(zip(names, agreed, strict=True))
        self.done.append(Evaluation(at=at, unit=unit, scores=scores))
        if self._rule is None:
            return False
        if self._rule.score not in scores:
            raise ConfigError(
                f"plan.stop.score ({self._rule.score!r}) is not among the evaluated scores "
                f"{', '.join(sorted(scores))}"
            )
        return scores[self._rule.score] <= self._rule.at_most


def score_examples(model: LanguageModel, examples: tuple[Example, ...]) -> list[TokenScores]:
    """Score the tokens of examples that count, without a source."""
    passages = [
        Passage(tokens=example.tokens, start=example.start, source_id=NO_SOURCE)
        for example in examples
    ]
    return score_passages(model, passages, unit="examples")


def mean_nll(model: LanguageModel, examples: tuple[Example, ...]) -> float:
    """Return the nats per token that counts, the mean over all of at least one example."""
    scores = score_examples(model, examples)
    total = math.fsum(score.log_likelihood for score in scores)
    return -total / sum(len(score.tokens) for score in scores)


def memorization(model: LanguageModel, examples: tuple[Example, ...]) -> float:
    """Return the share of tokens that are the model's first choice, the mean over examples."""
    shares = accuracies(score_examples(model, examples))
    return math.fsum(shares) / len(shares)


def recall_of(request: Request) -> Evaluate:
    """Return an evaluation that any text allows: memorization of the text to forget, and losses.

    Its scores: "forget/accuracy" (exact memorization, teacher-forced), "forget/nll" and, with
    retained text, "retain/nll".

    Args:
        request: with text to forget.
    """

    def evaluate(model: LanguageModel) -> dict[str, float]:
        scores = {
            "forget/accuracy": memorization(model, request.forget_text),
            "forget/nll": mean_nll(model, request.forget_text),
        }
        if request.retain_text:
            scores["retain/nll"] = mean_nll(model, request.retain_text)
        return scores

    return evaluate
