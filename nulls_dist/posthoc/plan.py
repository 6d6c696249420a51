"""How long a run goes on: steps, optimizer, the rule that stops it; and why it ended."""

from dataclasses import dataclass
from enum import StrEnum

from nulls_dist.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class StopRule:
    """Stop at the first evaluation whose score is at or below a value.

    With the retrained model's score as the value this tunes a method without looking at any other
    axis. Source: the rule of MUSE (arXiv 2407.06460), verified in code: muse_bench
    get_best_forget_quality.py.
    """

    score: str
    """Its name among the evaluated ones; higher = more remembered."""
    at_most: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Settings that are not a method's own. The defaults are open-unlearning's.

    Learning rates of two methods are not comparable: some losses are means over tokens, others
    sums over a sequence.
    """

    max_steps: int
    """Steps of the optimizer."""
    batch_size: int = 32
    """Sequences to forget per step; as many are drawn to be kept."""
    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    evaluate_every: int = 10
    """Steps from one evaluation to the next; the start and the end are evaluated as well."""
    stop: StopRule | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_steps", "batch_size", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"plan.{name} ({getattr(self, name)}) must be at least 1")
        if not self.learning_rate > 0:
            raise ConfigError(f"plan.learning_rate ({self.learning_rate}) must be above 0")
        for name in ("weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"plan.{name} ({getattr(self, name)}) must not be negative")


class Ending(StrEnum):
    """Why a run ended."""

    NOTHING = "nothing to forget"
    ALREADY = "the stop rule was met before the first step"
    RULE = "the stop rule was met"
    METHOD = "the method found nothing more to do"
    PLAN = "the plan was carried out"
    DIVERGED = "the loss or its gradient was not finite"
