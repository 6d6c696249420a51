"""Which source each line of a request names, decided for all lines at once.

Every line ends as matched, unknown, ambiguous or duplicate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nulls_dist.data.source_table import SourceTable
from nulls_dist.errors import UnknownSourceError
from nulls_dist.source_list import Means, Request, parse_request, read_requests
from nulls_dist.sources import NO_SOURCE
from nulls_dist.unlearn.matching import FORMER_WAY, WAYS, IntArray, MatchedBy, Way, find_rows
from nulls_dist.unlearn.suggest import suggest_titles

_MAX_LISTED: Final = 20
_MAX_SHOWN: Final = 200
_MAX_SUGGESTED: Final = 5
_MAX_CHOICES: Final = 4
_LABELS: Final = tuple(MatchedBy)
_NAMED_MEANS: Final = (Means.ID, Means.TITLE, Means.KEY, Means.URL)


class Outcome(StrEnum):
    """What became of a line."""

    MATCHED = "matched"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    DUPLICATE = "duplicate"
    """An earlier line named the same source."""


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


class _Matches(NamedTuple):
    """(M,) each; sorted by line, then by what of the source it names."""

    places: IntArray
    """Of the lines in the request."""
    rows: IntArray
    """Of the sources in the table."""
    labels: IntArray
    """Of what was named in `MatchedBy`."""


def resolve_requests(table: SourceTable, requests: Sequence[Request]) -> list[Resolution]:
    """Decide every line, in order.

    Raises:
        IntegrityError: the table is damaged.
    """
    matches = _find_matches(table, requests)
    lines, starts = np.unique(matches.places, return_index=True)
    lowest = highest = matches.rows
    if len(lines):
        lowest = np.minimum.reduceat(matches.rows, starts)
        highest = np.maximum.reduceat(matches.rows, starts)
    is_one = lowest == highest
    decided: list[Resolution | None] = [None] * len(requests)
    labels = matches.labels[starts[is_one]]
    for place, entry in _settle(table, requests, lines[is_one], lowest[is_one], labels):
        decided[place] = entry
    ends = np.append(starts[1:], len(matches.places))
    for line, begin, end in zip(lines[~is_one], starts[~is_one], ends[~is_one], strict=True):
        detail = _describe_choice(table, matches.rows[begin:end], matches.labels[begin:end])
        decided[line] = Resolution(request=requests[line], outcome=Outcome.AMBIGUOUS, detail=detail)
    unknown = [place for place, entry in enumerate(decided) if entry is None]
    for place, entry in _suggest(table, requests, unknown[:_MAX_SUGGESTED]):
        decided[place] = entry
    return [entry or _unknown(requests[place]) for place, entry in enumerate(decided)]


def check_resolved(resolutions: Sequence[Resolution], *, allow_unknown: bool) -> None:
    """Refuse a request unless each of its lines names one source.

    Args:
        resolutions: all lines.
        allow_unknown: accept lines that name no source; ambiguous ones never pass.

    Raises:
        UnknownSourceError: with the failing lines.
    """
    failing = [
        resolution
        for resolution in resolutions
        if resolution.outcome is Outcome.AMBIGUOUS
        or (resolution.outcome is Outcome.UNKNOWN and not allow_unknown)
    ]
    if not failing:
        return
    lines = [
        f"  line {entry.request.line}: {entry.request.text[:_MAX_SHOWN]!r} is {entry.outcome}: "
        f"{entry.detail}"
        for entry in failing[:_MAX_LISTED]
    ]
    if len(failing) > _MAX_LISTED:
        lines.append(f"  and {len(failing) - _MAX_LISTED} more")
    listed = "\n".join(lines)
    raise UnknownSourceError(
        f"{len(failing)} of {len(resolutions)} lines do not name one source; nothing was written. "
        f"Correct them or take them out (strip_sources.py skips unknown ones with --allow-unknown):"
        f"\n{listed}"
    )


def matched_ids(resolutions: Sequence[Resolution]) -> list[int]:
    """Return the sources that the lines name, each once."""
    return [
        entry.source_id
        for entry in resolutions
        if entry.outcome is Outcome.MATCHED and entry.source_id is not None
    ]


def resolve_names(table: SourceTable, names: Sequence[str]) -> list[Resolution]:
    """Decide names that were typed, each written as a line of sources.txt.

    Raises:
        IntegrityError: the table is damaged.
    """
    return resolve_requests(
        table, [parse_request(name, line) for line, name in enumerate(names, 1)]
    )


def find_sources(table: SourceTable, names: Sequence[str]) -> list[Resolution]:
    """Return what `resolve_names` does, where every name is that of one source.

    Raises:
        IntegrityError: the table is damaged.
        UnknownSourceError: a name is not that of one source.
    """
    found = resolve_names(table, names)
    for entry in found:
        if entry.source_id is None:
            raise UnknownSourceError(
                f"source {entry.request.text!r} is {entry.outcome}: {entry.detail}"
            )
    return found


def resolve_all(table: SourceTable, path: Path) -> list[int]:
    """Return the sources that a file names, each once; every line must name one.

    Raises:
        InputError: the file is no list of sources.
        UnknownSourceError: a line does not name one source.
    """
    resolutions = resolve_requests(table, read_requests(path))
    check_resolved(resolutions, allow_unknown=False)
    return matched_ids(resolutions)


def _find_matches(table: SourceTable, requests: Sequence[Request]) -> _Matches:
    names = pa.array([request.name for request in requests], pa.string())
    is_any = np.array([request.means is Means.ANY for request in requests], dtype=bool)
    is_url = pc.match_substring(names, "://").to_numpy(zero_copy_only=False)

    def ask(way: Way) -> _Matches:
        named = np.array([request.means is way.means for request in requests], dtype=bool)
        asking = np.flatnonzero(named | (is_any & is_url if way.means is Means.URL else is_any))
        within, rows = find_rows(table, way, names.take(pa.array(asking)))
        return _Matches(asking[within], rows, np.full(len(rows), _LABELS.index(way.label)))

    found = [*map(ask, WAYS), _find_ids(table, requests)]
    is_unknown = np.ones(len(requests), dtype=bool)
    for matches in found:
        is_unknown[matches.places] = False
    found.append(_find_former(table, requests, np.flatnonzero(is_unknown)))
    places, rows, labels = map(np.concatenate, zip(*found, strict=True))
    order = np.argsort(places, kind="stable")  # ways stay in their order
    return _Matches(places[order], rows[order], labels[order])


def _find_ids(table: SourceTable, requests: Sequence[Request]) -> _Matches:
    ids = {
        place: number
        for place, request in enumerate(requests)
        if request.means is Means.ID and (number := _parse_id(request.name)) is not None
    }
    by_id = table.rows_of(np.array(list(ids.values()), dtype=np.uint64))
    known = by_id >= 0
    places = np.array(list(ids), dtype=np.int64)[known]
    return _Matches(places, by_id[known], np.full(len(places), _LABELS.index(MatchedBy.ID)))


def _find_former(table: SourceTable, requests: Sequence[Request], places: IntArray) -> _Matches:
    """Look for lines that name nothing among the names of sources that others took in."""
    asked = [
        (place, f"{means}:{requests[place].name}")
        for place in places.tolist()
        for means in _NAMED_MEANS
        if _may_mean(requests[place], means)
    ]
    lines = np.array([place for place, _ in asked], dtype=np.int64)
    names = pa.array([name for _, name in asked], pa.string())
    within, rows = find_rows(table, FORMER_WAY, names)
    return _Matches(lines[within], rows, np.full(len(rows), _LABELS.index(FORMER_WAY.label)))


def _may_mean(request: Request, means: Means) -> bool:
    if request.means is not Means.ANY:
        return request.means is means
    return means in (Means.TITLE, Means.KEY) or (means is Means.URL and "://" in request.name)


def _parse_id(name: str) -> int | None:
    digits = len(str(NO_SOURCE))
    if not (name.isascii() and name.isdigit() and len(name) <= digits) or int(name) >= NO_SOURCE:
        return None
    return int(name)


def _settle(
    table: SourceTable,
    requests: Sequence[Request],
    places: IntArray,
    rows: IntArray,
    labels: IntArray,
) -> Iterator[tuple[int, Resolution]]:
    """Judge the lines that name one source: (Q,) ascending places, their rows and labels."""
    _, firsts, inverse = np.unique(rows, return_index=True, return_inverse=True)
    first_places = places[firsts[inverse]].tolist()
    settled = zip(
        places.tolist(),
        first_places,
        table.source_ids[rows].tolist(),
        table.read_rows("title", rows),
        labels.tolist(),
        strict=True,
    )
    for place, first, source_id, title, label in settled:
        yield (
            place,
            Resolution(
                request=requests[place],
                outcome=Outcome.MATCHED if place == first else Outcome.DUPLICATE,
                source_id=source_id,
                title=title,
                matched_by=_LABELS[label],
                detail="" if place == first else f"line {requests[first].line} names it already",
            ),
        )


def _describe_choice(table: SourceTable, rows: IntArray, labels: IntArray) -> str:
    choices = np.lexsort((labels, rows))[:_MAX_CHOICES]
    ids = table.source_ids[rows[choices]].tolist()
    named = zip(labels[choices], table.titles_of(ids), ids, strict=True)
    listed = ", ".join(
        f"{_LABELS[label]} of {title!r} (id:{number})" for label, title, number in named
    )
    more = f" and {len(rows) - _MAX_CHOICES} more" if len(rows) > _MAX_CHOICES else ""
    return f"{listed}{more}; choose with id:, title: or key:"


def _suggest(
    table: SourceTable, requests: Sequence[Request], places: Sequence[int]
) -> Iterator[tuple[int, Resolution]]:
    """Judge lines that name nothing, with titles like theirs."""
    if places:
        suggested = suggest_titles(table, [requests[place].name for place in places])
        for place, titles in zip(places, suggested, strict=True):
            yield place, _unknown(requests[place], titles)


def _unknown(request: Request, suggestions: Sequence[str] = ()) -> Resolution:
    detail = "no source has this name"
    if suggestions:
        detail += f"; did you mean {' or '.join(map(repr, suggestions))}?"
    return Resolution(request=request, outcome=Outcome.UNKNOWN, detail=detail)
