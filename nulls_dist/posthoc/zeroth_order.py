"""Descent of a function of one number, from its values alone.

Source: ECO prompts (arXiv 2406.07933), verified in code: llm-unlearn-eco (commit 9b0ba1a),
eco/optimizer/zoo.py, of which this is the scalar form; the defaults are those of its script.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nulls_dist.errors import ConfigError

_LOWEST_PROBE: Final = 1e-8


@dataclass(frozen=True, kw_only=True, slots=True)
class ZerothOrderDescent:
    """Steps along a central difference; each takes two values of the function."""

    step_size: float = 100.0
    """eta."""
    probe: float = 0.0999
    """epsilon: how far to either side the function is asked."""
    smallest: float = 0.1
    """The number never falls below it."""

    def __post_init__(self) -> None:
        for name in ("step_size", "probe", "smallest"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} ({getattr(self, name)}) must be above 0")

    def step(self, function: Callable[[float], float], at: float) -> float:
        """Return max(x - eta g, smallest), g = (f(x + eps) - f(max(x - eps, 1e-8))) / (2 eps)."""
        above, below = function(at + self.probe), function(max(at - self.probe, _LOWEST_PROBE))
        slope = (above - below) / (2 * self.probe)
        return max(at - self.step_size * slope, self.smallest)
