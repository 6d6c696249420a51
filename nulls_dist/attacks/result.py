"""What an attack found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nulls_dist.errors import InputError
from nulls_dist.eval.metrics.result import MetricResult


class NotApplicableError(InputError):
    """An attack has nothing to work on in these probes and documents: that is a finding, too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackResult:
    """Measures of one attack in one setting."""

    attack: str
    """Its name in the catalogue."""
    setting: str
    """What tells it from other results of the attack, such as "nf4"."""
    options: Mapping[str, Any]
    """The attacker's budget and choices, JSON-ready."""
    results: tuple[MetricResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "attack": self.attack,
            "setting": self.setting,
            "options": dict(self.options),
            "results": [result.to_dict() for result in self.results],
        }
