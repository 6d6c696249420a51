"""Which source each line of a request names, decided for all lines at once.

Every line ends as matched, unknown, ambiguous or duplicate. N lines, M matches.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nulls_dist.data.source_table import SourceTable
from nulls_dist.errors import UnknownSourceError
from nulls_dist.source_list import Means, Request, Requests, parse_request, read_requests
from nulls_dist.sources import NO_SOURCE
from nulls_dist.unlearn.matching import FORMER_WAY, WAYS, IntArray, MatchedBy, Way, find_rows
from nulls_dist.unlearn.resolutions import (
    LABELS,
    NO_LABEL,
    OUTCOMES,
    Outcome,
    Resolutions,
    check_resolved,
    describe_unknown,
    matched_ids,
)
from nulls_dist.unlearn.suggest import suggest_titles

_MAX_SUGGESTED: Final = 5
_MAX_CHOICES: Final = 4
_MAX_COLUMNS_AT_ONCE: Final = 2


class _Matches(NamedTuple):
    """(M,) each; sorted by line, then by what of the source it names."""

    places: IntArray
    """Of the lines in the request."""
    rows: IntArray
    """Of the sources in the table."""
    labels: IntArray
    """Of what was named in `LABELS`."""


def resolve_requests(table: SourceTable, requests: Sequence[Request]) -> Resolutions:
    """Decide every line, in order.

    Raises:
        IntegrityError: the table is damaged.
    """
    requests = Requests.of(requests)
    matches = _find_matches(table, requests)
    lines, starts, counts = np.unique(matches.places, return_index=True, return_counts=True)
    lowest = highest = matches.rows
    if len(lines):
        lowest = np.minimum.reduceat(matches.rows, starts)
        highest = np.maximum.reduceat(matches.rows, starts)
    is_one = lowest == highest
    named, rows = lines[is_one], lowest[is_one]
    earliest = _find_earliest(named, rows)

    outcomes = np.full(len(requests), OUTCOMES.index(Outcome.UNKNOWN), dtype=np.int8)
    outcomes[lines] = OUTCOMES.index(Outcome.AMBIGUOUS)
    outcomes[named] = OUTCOMES.index(Outcome.DUPLICATE)
    outcomes[earliest] = OUTCOMES.index(Outcome.MATCHED)
    several = _Matches(*(column[np.repeat(~is_one, counts)] for column in matches))
    unknown = np.flatnonzero(outcomes == OUTCOMES.index(Outcome.UNKNOWN))[:_MAX_SUGGESTED]
    return Resolutions(
        requests=requests,
        outcomes=outcomes,
        source_ids=_spread(table.source_ids[rows], named, np.full(len(requests), NO_SOURCE)),
        titles=_spread_strings(table.take_rows("title", rows), named, len(requests)),
        labels=_spread(
            matches.labels[starts[is_one]], named, np.full(len(requests), NO_LABEL, dtype=np.int8)
        ),
        repeated=_spread(requests.lines[earliest], named, np.zeros(len(requests), dtype=np.int64)),
        details=_describe_choices(table, several) | _describe_unknown(table, requests, unknown),
    )


def resolve_names(table: SourceTable, names: Sequence[str]) -> Resolutions:
    """Decide names that were typed, each written as a line of sources.txt.

    Raises:
        IntegrityError: the table is damaged.
    """
    return resolve_requests(
        table, [parse_request(name, line) for line, name in enumerate(names, 1)]
    )


def find_sources(table: SourceTable, names: Sequence[str]) -> Resolutions:
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


def _find_matches(table: SourceTable, requests: Requests) -> _Matches:
    is_any = requests.means_are(Means.ANY)
    may_be_url = is_any & _are_urls(requests)

    def ask(way: Way) -> _Matches:
        asks = requests.means_are(way.means) | (may_be_url if way.means is Means.URL else is_any)
        asking = np.flatnonzero(asks)
        within, rows = find_rows(table, way, requests.names.take(pa.array(asking)))
        return _Matches(asking[within], rows, np.full(len(rows), LABELS.index(way.label)))

    # Arrow and numpy work outside the interpreter's lock; a column per thread keeps memory low.
    with ThreadPoolExecutor(max_workers=_MAX_COLUMNS_AT_ONCE) as threads:
        found = [*threads.map(ask, WAYS), _find_ids(table, requests)]
    is_unknown = np.ones(len(requests), dtype=bool)
    for matches in found:
        is_unknown[matches.places] = False
    found.append(_find_former(table, requests, is_unknown))
    places, rows, labels = map(np.concatenate, zip(*found, strict=True))
    order = np.argsort(places, kind="stable")  # ways stay in their order
    return _Matches(places[order], rows[order], labels[order])


def _are_urls(requests: Requests) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = pc.match_substring(requests.names, "://").to_numpy(
        zero_copy_only=False
    )
    return found


def _find_ids(table: SourceTable, requests: Requests) -> _Matches:
    asking = np.flatnonzero(requests.means_are(Means.ID))
    parsed = [_parse_id(name) for name in requests.names.take(pa.array(asking)).to_pylist()]
    ids = np.array([NO_SOURCE if number is None else number for number in parsed], dtype=np.uint64)
    rows = table.rows_of(ids)
    known = rows >= 0
    labels = np.full(int(known.sum()), LABELS.index(MatchedBy.ID))
    return _Matches(asking[known], rows[known], labels)


def _find_former(
    table: SourceTable, requests: Requests, is_unknown: npt.NDArray[np.bool_]
) -> _Matches:
    """Look for lines that name nothing among the names of sources that others took in."""
    is_any = requests.means_are(Means.ANY)
    may_mean = {
        Means.ID: requests.means_are(Means.ID),
        Means.TITLE: requests.means_are(Means.TITLE) | is_any,
        Means.KEY: requests.means_are(Means.KEY) | is_any,
        Means.URL: requests.means_are(Means.URL) | (is_any & _are_urls(requests)),
    }
    asking, spelled = [], []
    for means, asks in may_mean.items():
        places = np.flatnonzero(is_unknown & asks)
        asking.append(places)
        names = requests.names.take(pa.array(places))
        spelled.append(pc.binary_join_element_wise(f"{means}:", names, ""))
    within, rows = find_rows(table, FORMER_WAY, pa.concat_arrays(spelled))
    labels = np.full(len(rows), LABELS.index(FORMER_WAY.label))
    return _Matches(np.concatenate(asking)[within], rows, labels)


def _parse_id(name: str) -> int | None:
    digits = len(str(NO_SOURCE))
    if not (name.isascii() and name.isdigit() and len(name) <= digits) or int(name) >= NO_SOURCE:
        return None
    return int(name)


def _find_earliest(places: IntArray, rows: IntArray) -> IntArray:
    """Return for each line the first that names its row: (Q,) ascending places, (Q,) rows."""
    _, firsts, inverse = np.unique(rows, return_index=True, return_inverse=True)
    return places[firsts[inverse]]


def _spread(values: Any, places: IntArray, filled: Any) -> Any:
    """Return an array with values at some places."""
    filled[places] = values
    return filled


def _spread_strings(strings: Any, places: IntArray, length: int) -> Any:
    """Return strings at ascending places of an array, empty ones elsewhere."""
    is_filled = _spread(True, places, np.zeros(length, dtype=bool))
    return pc.replace_with_mask(pa.repeat("", length), pa.array(is_filled), strings)


def _describe_choices(table: SourceTable, matches: _Matches) -> dict[int, str]:
    """Return what each line may mean, of lines that may mean several sources."""
    order = np.lexsort((matches.labels, matches.rows, matches.places))
    lines, starts, counts = np.unique(matches.places, return_index=True, return_counts=True)
    shown = order[np.arange(len(order)) - np.repeat(starts, counts) < _MAX_CHOICES]
    rows, labels = matches.rows[shown], matches.labels[shown]
    named = zip(
        labels.tolist(),
        table.read_rows("title", rows),
        table.source_ids[rows].tolist(),
        strict=True,
    )
    choices = (f"{LABELS[label]} of {title!r} (id:{number})" for label, title, number in named)
    described = {}
    for line, count in zip(lines.tolist(), counts.tolist(), strict=True):
        listed = ", ".join(islice(choices, min(count, _MAX_CHOICES)))
        more = f" and {count - _MAX_CHOICES} more" if count > _MAX_CHOICES else ""
        described[line] = f"{listed}{more}; choose with id:, title: or key:"
    return described


def _describe_unknown(table: SourceTable, requests: Requests, places: IntArray) -> dict[int, str]:
    """Return titles like the names of lines that name nothing."""
    if not len(places):
        return {}
    names = [requests[place].name for place in places.tolist()]
    suggested = suggest_titles(table, names)
    return dict(zip(places.tolist(), map(describe_unknown, suggested), strict=True))
