"""ECO prompts: corrupt what is asked where it is about what is to be forgotten.

Source: arXiv 2406.07933; verified in code: llm-unlearn-eco (commit 9b0ba1a). There the classifier
is a fine-tuned RoBERTa with a threshold of 0.99 to 0.9999, tokens are selected by a recogniser of
names, and the search lowers the accuracy at multiple choice; here a classifier and a selector can
be given, and the search lowers the probability of the answers.
"""

import logging
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Final

import numpy as np
from torch import nn

from nulls_dist.errors import ConfigError
from nulls_dist.eval.metrics.likelihood import normalized_probability
from nulls_dist.posthoc.contract import Need, Split
from nulls_dist.posthoc.corrupted_prompts import CorruptedPrompts, Scope, Select, all_but_last
from nulls_dist.posthoc.corruptions import Corruption, Noise
from nulls_dist.posthoc.evaluation import Unit
from nulls_dist.posthoc.method import Method
from nulls_dist.posthoc.plan import Ending
from nulls_dist.posthoc.prompt_classifier import ClassifierRecipe, HashedNgrams, PromptClassifier
from nulls_dist.posthoc.work import Draws, Work
from nulls_dist.posthoc.zeroth_order import ZerothOrderDescent

logger = logging.getLogger(__name__)

_SEEDS: Final = 2**31


@dataclass(frozen=True, kw_only=True)
class ECOPrompts(Method):
    """Flag prompts by a classifier and corrupt their embeddings; the weights stay.

    The plan's steps are those of the search for the strength; its stop rule ends the search, as
    does a strength that no longer changes.
    Who holds the weights, or asks so that the classifier does not notice, gets what was to be
    forgotten. A text that counts from its second token has no prompt to corrupt: give texts to
    forget as prompts with answers, or the search finds nothing to lower.
    """

    name: ClassVar[str] = "ECO prompts"

    classifier: ClassifierRecipe = field(default_factory=HashedNgrams)
    threshold: float = 0.5
    """A prompt is flagged above this probability."""
    select: Select = all_but_last
    """Tokens to corrupt; where it selects none, all but the last."""
    corruption: Corruption = field(default_factory=Noise)
    strength: float = 0.1
    """Where the search starts, or all there is without one."""
    search: ZerothOrderDescent | None = field(default_factory=ZerothOrderDescent)
    scope: Scope = Scope.PROMPT
    embedding: str | None = None
    """Dotted name of the input embeddings; not needed for a model of transformers."""

    def __post_init__(self) -> None:
        if self.scope not in list(Scope):
            raise ConfigError(f"scope={self.scope!r} must be one of {', '.join(Scope)}")
        if not 0 <= self.threshold < 1:
            raise ConfigError(f"threshold ({self.threshold}) must be from 0 to below 1")
        if not self.strength >= 0:
            raise ConfigError(f"strength ({self.strength}) must not be negative")

    @property
    def needs(self) -> frozenset[Need]:
        """Prompts of both kinds; the search also answers to forget. No gradients."""
        prompts = frozenset({Need.FORGET_PROMPTS, Need.RETAIN_PROMPTS})
        return prompts if self.search is None else prompts | {Need.FORGET_TEXT}

    @property
    def settings(self) -> dict[str, Any]:
        """What repeats the method; of a selector its name."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {
            "search": None if self.search is None else asdict(self.search),
            "classifier": self.classifier.describe(),
            "corruption": self.corruption.describe(),
            "select": getattr(self.select, "__name__", type(self.select).__name__),
        }

    def unlearn(self, work: Work) -> nn.Module:
        """Learn the classifier, then search for the strength."""
        seeds = work.draws(Draws.METHOD).integers(_SEEDS, size=2).tolist()
        classifier = self.classifier.learn(work.forget_prompts, work.retain_prompts, seed=seeds[0])
        self._report(work, classifier)
        answering = CorruptedPrompts(
            work.model,
            classifier,
            self.corruption,
            strength=self.strength,
            threshold=self.threshold,
            scope=Scope(self.scope),
            select=self.select,
            embedding=self.embedding,
            seed=seeds[1],
        )
        if self.search is None:
            work.evaluate(answering, answering.strength, Unit.STRENGTH)
        else:
            _search(work, answering, self.search)
        logger.info("%s corrupts with strength %g", self.name, answering.strength)
        return answering

    def _report(self, work: Work, classifier: PromptClassifier) -> None:
        flagged = [
            f"{int((classifier(prompts) > self.threshold).sum())} of {len(prompts)}"
            for prompts in (work.forget_prompts, work.retain_prompts)
        ]
        logger.info("%s flags %s prompts to forget and %s to keep", self.name, *flagged)


def _search(work: Work, answering: CorruptedPrompts, descent: ZerothOrderDescent) -> None:
    """Lower the mean probability of the texts to forget, normalised by length."""

    def remembered(strength: float) -> float:
        answering.strength = strength
        scores = work.scores(work.forget_text, Split.FORGET, model=answering)
        return float(np.mean([normalized_probability(each.log_probs) for each in scores]))

    strength = answering.strength
    for _ in range(work.plan.max_steps):
        before, strength = strength, descent.step(remembered, strength)
        answering.strength = strength
        if work.evaluate(answering, strength, Unit.STRENGTH):
            return
        if strength == before:  # the noise is fixed: further steps would repeat this one
            work.ending = Ending.METHOD
            return
