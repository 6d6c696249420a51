"""In which states which checkpoint is asked: the states of `eval.states`, and off with rescale."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from torch import Tensor

from nulls_dist.benchmark.unlearning.lab import EXCISED, SUPPRESSED, TRAINED
from nulls_dist.benchmark.unlearning.sizes import Arm
from nulls_dist.eval.inference import InferenceModel
from nulls_dist.eval.states import State
from nulls_dist.eval.token_scores import LanguageModel


class Condition(StrEnum):
    """How a model is asked. Tombstones are ignored, as someone who holds the weights can."""

    ON = "on"
    OFF = "off"
    RESCALED = "off rescaled"
    """The backbone alone, as loud as backbone and active sinks together."""
    NEAREST = "nearest"
    PLACEBO = "placebo"

    @property
    def state(self) -> State:
        """Whose sinks serve."""
        return State.OFF if self is Condition.RESCALED else State(self.value)


_ASKED: Final = {
    TRAINED: tuple(Condition),
    SUPPRESSED: (Condition.ON, Condition.NEAREST),
    EXCISED: (Condition.ON, Condition.OFF, Condition.NEAREST),
}


def conditions_of(arm: Arm, checkpoint: str) -> tuple[Condition, ...]:
    """Return how a checkpoint is asked; a model without sinks is always off."""
    return _ASKED[checkpoint] if arm.has_sinks else (Condition.OFF,)


def checkpoints_of(arm: Arm) -> tuple[str, ...]:
    """Return the checkpoints of an arm: deletions are made from the model that saw the sources."""
    return tuple(_ASKED) if arm.has_sinks and not arm.is_retrained else (TRAINED,)


def in_condition(model: LanguageModel, condition: Condition) -> LanguageModel:
    """Return a model as it answers in a condition."""
    if condition is not Condition.RESCALED:
        return model
    assert isinstance(model, InferenceModel), "only a model with sinks is rescaled"
    config = model.config
    gain = (config.num_backbone + config.num_active) / config.num_backbone
    return _Rescaled(model, gain)


@dataclass(frozen=True)
class _Rescaled:
    """A model whose backbone is louder.

    Source: the gain (p_gen + p_mem) / p_gen of the released NULLs weights without sinks.
    """

    model: InferenceModel
    gain: float

    def logits(self, texts: Sequence[Sequence[int]], source_ids: Sequence[int]) -> list[Tensor]:
        return self.model.logits(texts, source_ids, backbone_gain=self.gain)
