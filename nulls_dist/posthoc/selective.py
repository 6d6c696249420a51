"""Each text by how well it is known: Selective Gradient Ascent and Task Arithmetic for Unlearning.

Source: "To Each (Textual Sequence) Its Own" (arXiv 2405.03097). Its abstract was read: sequences
are treated by their degree of memorization, by ascent and by task arithmetic. No code was found and
the full text was not read; the rules below follow summaries of others and are unverified. What is
this project's own choice is said so. The publication's metric is `eval.metrics.outliers`, its
attack has a stand-in in `eval.metrics.membership.TWO_SIDED`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from nulls_dist.errors import ConfigError
from nulls_dist.eval.recitation import accuracies
from nulls_dist.posthoc import losses
from nulls_dist.posthoc.batches import Batch, shuffled_pass
from nulls_dist.posthoc.causal_model import Snapshot
from nulls_dist.posthoc.contract import Example, Need, Split
from nulls_dist.posthoc.method import Method
from nulls_dist.posthoc.reinforced import TaskVector
from nulls_dist.posthoc.work import Draws, Work


@dataclass(frozen=True, kw_only=True)
class SelectiveGradientAscent(Method):
    """Raise the loss of those texts alone that are memorized above a threshold.

    Before every pass the memorization g of each text is measured anew; the pass takes those with
    g > threshold; where there are none the method ends. Knowledge unlearning (arXiv 2210.01504)
    stops once the mean of g is low, which leaves outliers; its rule was verified in code.

    Unverified: the publication is said to fall back to the most memorized texts where none is
    above the threshold; with one threshold for each text and for the mean that cannot happen.
    """

    name: ClassVar[str] = "selective gradient ascent"

    threshold: float
    """gamma: the mean memorization (`evaluation.memorization`) of such text that was never seen."""

    def __post_init__(self) -> None:
        _check_threshold(self.threshold)

    @property
    def needs(self) -> frozenset[Need]:
        """Text to forget and gradients."""
        return frozenset({Need.FORGET_TEXT, Need.GRADIENTS})

    def unlearn(self, work: Work) -> nn.Module:
        """Take passes until no text is above the threshold."""
        _ascend(work, self.threshold)
        return work.model


@dataclass(frozen=True, kw_only=True)
class TaskArithmeticUnlearning(TaskVector):
    """Selective ascent, then a task vector: tuned from, and subtracted from, what ascent left.

    The plan's steps bound both, the ascent and the fine-tuning. Where the stop rule is met by the
    ascent nothing is subtracted.

    Unverified: that ascent comes first. The strengths are this project's choice.
    """

    name: ClassVar[str] = "task arithmetic for unlearning"

    threshold: float
    """gamma, as of `SelectiveGradientAscent`."""
    strengths: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_threshold(self.threshold)

    @property
    def needs(self) -> frozenset[Need]:
        """Text to forget and gradients; the reference is what ascent left."""
        return frozenset({Need.FORGET_TEXT, Need.GRADIENTS})

    def unlearn(self, work: Work) -> nn.Module:
        """Ascend, then move the weights further and further."""
        self.check_choice(work)
        if _ascend(work, self.threshold):
            return work.model
        work.forget_momentum()
        return self.negate(work, Snapshot(work.model))


def _ascend(work: Work, threshold: float) -> bool:
    """Take passes until no text is above the threshold; return whether the stop rule was met."""
    for batch in work.steps(_passes(work, threshold)):
        work.update(batch.text_share * losses.ascent_per_text(work.logits(batch), batch.labels))
    return work.is_stopped


def _passes(work: Work, threshold: float) -> Iterator[Batch]:
    """Yield batches of what is above the threshold at the beginning of each pass."""
    order = work.draws_anew(Draws.FORGET_ORDER)
    while chosen := _above(work, threshold):
        for examples in shuffled_pass(chosen, work.plan.batch_size, order):
            yield work.collate(examples, Split.FORGET)


def _above(work: Work, threshold: float) -> Sequence[Example]:
    shares = accuracies(work.scores(work.forget_text, Split.FORGET))
    return [
        example
        for example, share in zip(work.forget_text, shares, strict=True)
        if share > threshold
    ]


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold < 1:
        raise ConfigError(
            f"threshold ({threshold}) must be from 0 to below 1, of which no text is above; take "
            "the mean memorization of text that the model never saw"
        )
