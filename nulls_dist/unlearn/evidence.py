"""What a model knew of deleted sources before and knows after, as a report states it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

MIN_KNOWN: Final = 0.1
"""A source was known if its own sinks gave at least this much more right answers than others'."""
MAX_LEFT: Final = 0.1
"""A source is not recalled if at most this share of what was known is left."""


class Verdict(StrEnum):
    """What the questions about one source show."""

    NOT_RECALLED = "NOT RECALLED"
    RESIDUAL = "RESIDUAL"
    """Some of what was known is still answered: other sources say it too, or the backbone does."""
    NO_BASELINE = "NO BASELINE"
    """The model did not know the source to begin with, so nothing can be shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceEvidence:
    """Shares of right answers to the questions about one source."""

    source_id: int
    title: str
    num_questions: int
    before: float
    """Original checkpoint, the source's own sinks."""
    guess: float
    """Original checkpoint, an unrelated source's sinks: what can be known without the source."""
    after: float
    """New checkpoint, the source's own sinks forced on, as someone who holds the weights can."""
    backbone: float
    """New checkpoint, the backbone alone."""

    @property
    def left(self) -> float:
        """Share of what the source added that is still answered, at least 0."""
        known = self.before - self.guess
        return max(0.0, max(self.after, self.backbone) - self.guess) / known if known > 0 else 0.0

    @property
    def verdict(self) -> Verdict:
        """What these figures show."""
        if self.before - self.guess < MIN_KNOWN:
            return Verdict.NO_BASELINE
        return Verdict.NOT_RECALLED if self.left <= MAX_LEFT else Verdict.RESIDUAL


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Answers to questions about the deleted sources, and about others for comparison."""

    num_questions: int
    deleted: tuple[SourceEvidence, ...]
    control: tuple[SourceEvidence, ...]
    """Surviving sources, asked in the same way."""
    num_unasked: int
    """Deleted sources that no question is about."""

    @property
    def verdicts(self) -> Mapping[Verdict, int]:
        """Number of deleted sources per verdict."""
        return Counter(entry.verdict for entry in self.deleted)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, verdicts included."""
        return {
            "num_questions": self.num_questions,
            "rule": {"min_known": MIN_KNOWN, "max_left": MAX_LEFT},
            "verdicts": {verdict.value: self.verdicts[verdict] for verdict in Verdict},
            "deleted": [_describe(entry) for entry in self.deleted],
            "control": [_describe(entry) for entry in self.control],
            "num_unasked": self.num_unasked,
        }


def _describe(entry: SourceEvidence) -> dict[str, Any]:
    return {**asdict(entry), "left": entry.left, "verdict": entry.verdict.value}
