"""What became of the lines of a request, as columns, and what follows from it for the request."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nulls_dist.errors import UnknownSourceError
from nulls_dist.hashing import U64Array
from nulls_dist.rows import Rows
from nulls_dist.source_list import Request, Requests
from nulls_dist.sources import NO_SOURCE
from nulls_dist.unlearn.matching import MatchedBy

NO_LABEL: Final = -1
_MAX_LISTED: Final = 20
_MAX_SHOWN: Final = 200
_UNKNOWN: Final = "no source has this name"


class Outcome(StrEnum):
    """What became of a line."""

    MATCHED = "matched"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    DUPLICATE = "duplicate"
    """An earlier line named the same source."""


OUTCOMES: Final = tuple(Outcome)
LABELS: Final = tuple(MatchedBy)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """One line and what it names."""

    request: Request
    outcome: Outcome
    source_id: int | None = None
    title: str = ""
    matched_by: MatchedBy | None = None
    """What of the source the line names; if several things, the first of `MatchedBy`."""
    detail: str = ""
    """Why the line names nothing, or what it repeats."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Resolutions(Rows[Resolution]):
    """All lines of a request and what they name, as columns; N lines."""

    requests: Requests
    outcomes: npt.NDArray[np.int8]
    """(N,) places in `OUTCOMES`; `are` tells them."""
    source_ids: U64Array
    """(N,) `NO_SOURCE` where a line does not name one source."""
    titles: Any
    """(N,) Arrow strings."""
    labels: npt.NDArray[np.int8]
    """(N,) places in `LABELS`, `NO_LABEL` where there is none."""
    repeated: npt.NDArray[np.int64]
    """(N,) numbers of the lines that duplicates repeat; anything elsewhere."""
    details: Mapping[int, str]
    """By place, where an outcome alone does not say it."""

    @classmethod
    def of(cls, entries: Sequence[Resolution]) -> "Resolutions":
        """Return resolutions as columns."""
        ids = [NO_SOURCE if entry.source_id is None else entry.source_id for entry in entries]
        labels = [
            NO_LABEL if entry.matched_by is None else LABELS.index(entry.matched_by)
            for entry in entries
        ]
        return cls(
            requests=Requests.of(entry.request for entry in entries),
            outcomes=np.array([OUTCOMES.index(entry.outcome) for entry in entries], dtype=np.int8),
            source_ids=np.array(ids, dtype=np.uint64),
            titles=pa.array([entry.title for entry in entries], pa.string()),
            labels=np.array(labels, dtype=np.int8),
            repeated=np.zeros(len(entries), dtype=np.int64),
            details={place: entry.detail for place, entry in enumerate(entries)},
        )

    def are(self, outcome: Outcome) -> npt.NDArray[np.bool_]:
        """Return which lines have an outcome: (N,) bool."""
        return np.equal(self.outcomes, OUTCOMES.index(outcome))

    def count_outcomes(self) -> dict[Outcome, int]:
        """Return the number of lines of every outcome."""
        numbers = np.bincount(self.outcomes, minlength=len(OUTCOMES)).tolist()
        return dict(zip(OUTCOMES, numbers, strict=True))

    def __len__(self) -> int:
        return len(self.outcomes)

    def span(self, begin: int, end: int) -> Iterator[Resolution]:
        """Make some of the resolutions."""
        columns = zip(
            range(begin, end),
            self.requests.span(begin, end),
            self.outcomes[begin:end].tolist(),
            self.source_ids[begin:end].tolist(),
            self.titles[begin:end].to_pylist(),
            self.labels[begin:end].tolist(),
            strict=True,
        )
        for place, request, code, source_id, title, label in columns:
            yield Resolution(
                request=request,
                outcome=OUTCOMES[code],
                source_id=None if source_id == NO_SOURCE else source_id,
                title=title,
                matched_by=None if label == NO_LABEL else LABELS[label],
                detail=self._detail(place, OUTCOMES[code]),
            )

    def _detail(self, place: int, outcome: Outcome) -> str:
        if place in self.details:
            return self.details[place]
        if outcome is Outcome.DUPLICATE:
            return f"line {self.repeated[place]} names it already"
        return _UNKNOWN if outcome is Outcome.UNKNOWN else ""


def describe_unknown(suggestions: Sequence[str]) -> str:
    """Say that a line names nothing, with titles like its name."""
    if not suggestions:
        return _UNKNOWN
    return f"{_UNKNOWN}; did you mean {' or '.join(map(repr, suggestions))}?"


def check_resolved(resolutions: Resolutions, *, allow_unknown: bool) -> None:
    """Refuse a request unless each of its lines names one source.

    Args:
        resolutions: all lines.
        allow_unknown: accept lines that name no source; ambiguous ones never pass.

    Raises:
        UnknownSourceError: with the failing lines.
    """
    is_failing = resolutions.are(Outcome.AMBIGUOUS)
    if not allow_unknown:
        is_failing |= resolutions.are(Outcome.UNKNOWN)
    failing = np.flatnonzero(is_failing)
    if not len(failing):
        return
    lines = [
        f"  line {entry.request.line}: {entry.request.text[:_MAX_SHOWN]!r} is {entry.outcome}: "
        f"{entry.detail}"
        for entry in (resolutions[place] for place in failing[:_MAX_LISTED].tolist())
    ]
    if len(failing) > _MAX_LISTED:
        lines.append(f"  and {len(failing) - _MAX_LISTED} more")
    listed = "\n".join(lines)
    raise UnknownSourceError(
        f"{len(failing)} of {len(resolutions)} lines do not name one source; nothing was written. "
        f"Correct them or take them out (strip_sources.py skips unknown ones with --allow-unknown):"
        f"\n{listed}"
    )


def matched_ids(resolutions: Resolutions) -> list[int]:
    """Return the sources that the lines name, each once."""
    ids: list[int] = resolutions.source_ids[resolutions.are(Outcome.MATCHED)].tolist()
    return ids
