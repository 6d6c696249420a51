"""What figures of a benchmark must reach."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a figure must reach, on the mean over seeds."""

    figure: str
    at_least: float = -math.inf
    at_most: float = math.inf

    def is_met(self, value: float) -> bool:
        """Say whether a value reaches the target."""
        return self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        if math.isinf(self.at_most):
            return f"at least {self.at_least}"
        return f"at most {self.at_most}"
