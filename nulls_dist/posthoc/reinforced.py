"""Methods that first learn the text to forget by heart, then go the other way.

The plan's steps fine-tune the reinforced model; its evaluations and stop rule are for the strengths
tried afterwards, the smallest first. Source of both: the baselines of MUSE (arXiv 2407.06460),
verified in code: muse_bench (commit 54719c5).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nulls_dist.errors import ConfigError
from nulls_dist.posthoc import losses
from nulls_dist.posthoc.causal_model import Snapshot, logits_with, next_token_logits
from nulls_dist.posthoc.contract import Need
from nulls_dist.posthoc.evaluation import Unit
from nulls_dist.posthoc.method import Method
from nulls_dist.posthoc.work import Work


@dataclass(frozen=True, kw_only=True)
class ReinforcedMethod(Method):
    """A method with a reinforced model and a strength."""

    strengths: tuple[float, ...]
    """Ascending, not negative; several need a stop rule, which chooses the first that suffices."""

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in zip(self.strengths, self.strengths[1:], strict=False))
        if not self.strengths or not ascending or self.strengths[0] < 0:
            raise ConfigError(
                f"strengths {self.strengths} must be at least one, ascending and not negative"
            )

    @property
    def needs(self) -> frozenset[Need]:
        """Text to forget, gradients and the reference model; no retained text."""
        return frozenset({Need.FORGET_TEXT, Need.GRADIENTS, Need.REFERENCE_MODEL})

    def check_choice(self, work: Work) -> None:
        """Refuse several strengths without a rule that chooses among them.

        Raises:
            ConfigError: there is none.
        """
        if len(self.strengths) > 1 and work.plan.stop is None:
            raise ConfigError(
                f"nothing chooses among the strengths {self.strengths}; give plan.stop a rule, or "
                "give one strength"
            )

    def reinforce(self, work: Work, start: Snapshot) -> Snapshot:
        """Fine-tune the model on the text to forget, and give it its former weights back.

        Args:
            work: the run.
            start: of the model as it is.

        Raises:
            ConfigError: strengths cannot be chosen among, or fine-tuning changed nothing.
        """
        self.check_choice(work)
        batches = work.forget_batches()
        try:
            for _ in tqdm(range(work.plan.max_steps), "reinforce", disable=None, leave=False):
                batch = next(batches)
                work.update(batch.token_share * losses.mean_nll(work.logits(batch), batch.labels))
            reinforced = Snapshot(work.model)
        finally:
            work.forget_momentum()
            start.restore(work.model)
        if all(torch.equal(start.weights[name], now) for name, now in reinforced.weights.items()):
            raise ConfigError(
                f"{work.plan.max_steps} steps at a learning rate of {work.plan.learning_rate} "
                "changed no weight, so there is nothing to go against; take more or larger steps"
            )
        return reinforced


@dataclass(frozen=True, kw_only=True)
class TaskVector(ReinforcedMethod):
    """Subtract what fine-tuning on the text to forget added: `losses.negate_task`."""

    name: ClassVar[str] = "task vector"

    strengths: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)

    def unlearn(self, work: Work) -> nn.Module:
        """Move the weights, further and further."""
        return self.negate(work, work.reference)

    def negate(self, work: Work, start: Snapshot) -> nn.Module:
        """Subtract the task from the model as it is, of which a snapshot is given."""
        reinforced = self.reinforce(work, start)
        for strength in self.strengths:
            _move(work.model, start, reinforced, strength)
            if work.evaluate(work.model, strength, Unit.STRENGTH):
                break
        return work.model


@torch.no_grad()
def _move(model: nn.Module, start: Snapshot, tuned: Snapshot, strength: float) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(
            losses.negate_task(start.weights[name], tuned.weights[name], strength=strength)
        )


class AgainstReinforced(nn.Module):
    """A model that answers by `losses.logit_difference`: two forward passes, twice the weights."""

    def __init__(self, model: nn.Module, reinforced: Snapshot, strength: float) -> None:
        """Wrap a model, whose weights stay what they are.

        Args:
            model: the model.
            reinforced: its weights after fine-tuning on the text to forget.
            strength: a.
        """
        super().__init__()
        self.model = model
        self.strength = strength
        self._names = tuple(reinforced.weights)
        self.reinforced = nn.ParameterList(
            nn.Parameter(weight, requires_grad=False) for weight in reinforced.weights.values()
        )

    def reinforced_weights(self) -> dict[str, Tensor]:
        """Return the reinforced model's parameters by name."""
        return dict(zip(self._names, self.reinforced, strict=True))

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return (B, T, V) logits of (B, T) tokens."""
        return losses.logit_difference(
            next_token_logits(self.model, input_ids),
            logits_with(self.model, self.reinforced_weights(), input_ids),
            strength=self.strength,
        )


@dataclass(frozen=True, kw_only=True)
class LogitDifference(ReinforcedMethod):
    """Avoid what the reinforced model likes better, when answering.

    The weights stay: who holds them holds what was to be forgotten.
    """

    name: ClassVar[str] = "logit difference"

    strengths: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

    def unlearn(self, work: Work) -> nn.Module:
        """Wrap the model, more and more strongly."""
        answering = AgainstReinforced(
            work.model, self.reinforce(work, work.reference), self.strengths[0]
        )
        for strength in self.strengths:
            answering.strength = strength
            if work.evaluate(answering, strength, Unit.STRENGTH):
                break
        return answering
