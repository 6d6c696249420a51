"""A number and what it means: name, variant and formula travel with every value."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Final


class Direction(StrEnum):
    """What a higher value says."""

    REMEMBERED = "higher = more remembered"
    FORGOTTEN = "higher = more forgotten"
    RETRAINED = "higher = harder to tell from the retrained model"
    USEFUL = "higher = more useful"
    BALANCED = "0 = as the retrained model; below: still a member; above: over-forgotten"
    NONE = "none by itself: compare with the retrained model's"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A measure in one of its variants."""

    name: str
    variant: str
    """Tells it from other measures of the same name; empty where there are none."""
    formula: str
    direction: Direction
    lowest: float = 0.0
    highest: float = 1.0
    source: str
    """Where the formula comes from."""

    def with_variant(self, variant: str) -> "Metric":
        """Return the measure with a parameter or a choice named."""
        return replace(self, variant=variant)

    @property
    def label(self) -> str:
        """Name and variant."""
        return f"{self.name} [{self.variant}]" if self.variant else self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Where a value may lie."""

    low: float
    high: float
    confidence: float
    """Such as 0.95."""
    num_sources: int
    """How many were drawn from; of several samples the fewest. Distrust intervals of a few."""
    method: str
    """In words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricResult:
    """A value of a measure."""

    metric: Metric
    group: str
    """What was measured, such as a kind of fact."""
    value: float
    """NaN where the measure is undefined."""
    n: int
    """Observations behind the value: facts, documents or tokens; the variant says which."""
    interval: Interval | None = None
    details: Mapping[str, float] = field(default_factory=dict)
    """Numbers without which the value cannot be read, such as D beside a p-value."""

    def __post_init__(self) -> None:
        # A little beyond: a mean of ones may exceed 1 in the last bit.
        slack = 1e-9
        lowest, highest = self.metric.lowest - slack, self.metric.highest + slack
        assert math.isnan(self.value) or lowest <= self.value <= highest, (
            f"{self.metric.label} is {self.value}, outside its range"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; numbers that JSON lacks become null."""
        return {
            "name": self.metric.name,
            "variant": self.metric.variant,
            "formula": self.metric.formula,
            "direction": self.metric.direction.value,
            "source": self.metric.source,
            "group": self.group,
            "value": _finite(self.value),
            "n": self.n,
            "interval": None if self.interval is None else asdict(self.interval),
            "details": {name: _finite(value) for name, value in self.details.items()},
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


_GAP: Final = "  "


def format_results(results: Sequence[MetricResult]) -> str:
    """Return a table for a terminal, one value per line, formula and direction at its end."""
    rows = [
        (
            result.metric.label,
            result.group,
            f"{result.value:.4g}",
            _format_interval(result.interval),
            f"n={result.n}",
            " ".join(f"{name}={value:.4g}" for name, value in result.details.items()),
            f"{result.metric.formula} ({result.metric.direction})",
        )
        for result in results
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _format_interval(interval: Interval | None) -> str:
    if interval is None:
        return "no interval"
    limits = f"[{interval.low:.4g}, {interval.high:.4g}]"
    return f"{limits} {interval.confidence:.0%} of {interval.num_sources} sources"
