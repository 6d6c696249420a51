"""Which source each line of a request names, decided for all lines at once.

Every line ends as matched, unknown, ambiguous or duplicate. One column of the table at a time is
compared with the set of requested names, in Arrow; only what matches becomes a Python object.
"""

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nulls_dist.data.source_table import SourceTable
from nulls_dist.errors import UnknownSourceError
from nulls_dist.source_list import Means, Request, read_requests
from nulls_dist.sources import NO_SOURCE, normalize_name
from nulls_dist.unlearn.names import fold_keys, fold_titles, fold_urls

_MAX_LISTED: Final = 20
_MAX_SHOWN: Final = 200
_MAX_SUGGESTED: Final = 5
_MAX_CHOICES: Final = 4
_MAX_CANDIDATES: Final = 1000
_SHARED_PREFIX: Final = 3

_Fold = Callable[[Any], Any]


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
    detail: str = ""
    """Why the line names nothing, or what it repeats."""


@dataclass(frozen=True, slots=True)
class _Way:
    """One column by which a line may name a source."""

    column: str
    label: str
    fold: _Fold
    means: Means
    prefix: str = ""
    """What the names in the column begin with, where only such are meant."""


class _Match(NamedTuple):
    """A row of the table and what of it matched."""

    row: int
    label: str


_WAYS: Final = (
    _Way("title", "title", fold_titles, Means.TITLE),
    _Way("aliases", "alias", fold_titles, Means.ANY),
    _Way("source_key", "key", fold_keys, Means.KEY),
    _Way("url", "url", fold_urls, Means.URL),
    # Sources that another one took in are its aliases, each name with its means.
    *(
        _Way("aliases", f"former {means}", fold, means, f"{means}:")
        for means, fold in (
            (Means.ID, fold_keys),
            (Means.TITLE, fold_titles),
            (Means.KEY, fold_keys),
            (Means.URL, fold_urls),
        )
    ),
)


def resolve_requests(table: SourceTable, requests: Sequence[Request]) -> list[Resolution]:
    """Decide every line, in order."""
    found: dict[int, list[_Match]] = defaultdict(list)
    for way in _WAYS:
        asking = [number for number, request in enumerate(requests) if _may_use(request, way)]
        names = [requests[number].name for number in asking]
        for place, row in _find_rows(table, way, names):
            found[asking[place]].append(_Match(row, way.label))
    for number, request in enumerate(requests):
        if request.means is Means.ID and (by_id := _row_of_id(table, request.name)) is not None:
            found[number].append(_Match(by_id, "id"))
    first_lines: dict[int, int] = {}
    resolutions: list[Resolution] = []
    num_unknown = 0
    for number, request in enumerate(requests):
        resolution = _decide(table, request, found.get(number, []), first_lines)
        if resolution.outcome is Outcome.UNKNOWN:
            num_unknown += 1
            if num_unknown <= _MAX_SUGGESTED:
                resolution = _unknown(request, _suggest(table, request.name))
        resolutions.append(resolution)
    return resolutions


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


def resolve_all(table: SourceTable, path: Path) -> list[int]:
    """Return the sources that a file names, each once; every line must name one.

    Raises:
        InputError: the file is no list of sources.
        UnknownSourceError: a line does not name one source.
    """
    resolutions = resolve_requests(table, read_requests(path))
    check_resolved(resolutions, allow_unknown=False)
    return matched_ids(resolutions)


def _may_use(request: Request, way: _Way) -> bool:
    if way.means is Means.URL and request.means is Means.ANY:
        return "://" in request.name
    if way.means is Means.ID:
        return request.means is Means.ID
    return request.means in (way.means, Means.ANY)


def _find_rows(table: SourceTable, way: _Way, names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield (place in `names`, row) of all matches: exact spellings, else equal folded forms."""
    if not names:
        return
    folded = way.fold(pa.array(names, pa.string())).to_pylist()
    distinct = list(dict.fromkeys(filter(None, folded)))
    wanted = pa.array(distinct, pa.string())
    matches: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for values, rows in _pieces(table.table.column(way.column), way.prefix):
        hits = pc.index_in(way.fold(values), value_set=wanted).fill_null(-1).to_numpy()
        for hit in np.flatnonzero(hits >= 0):
            matches[distinct[hits[hit]]].append((int(rows[hit]), values[hit].as_py()))
    for place, (name, form) in enumerate(zip(names, folded, strict=True)):
        pairs = matches.get(form, [])
        exact = normalize_name(name)
        same = {row for row, value in pairs if normalize_name(value) == exact}
        for row in same or {row for row, _ in pairs}:
            yield place, row


def _pieces(column: Any, prefix: str) -> Iterator[tuple[Any, npt.NDArray[np.int64]]]:
    """Yield the strings of a column, of its lists where it holds lists, with their rows.

    Only those that begin with the prefix, and without it.
    """
    start = 0
    whole = pa.table({"names": column}).combine_chunks()  # each chunk hashes all requested names
    for chunk in whole.column("names").chunks:
        values, rows = chunk, np.arange(start, start + len(chunk))
        if pa.types.is_list(chunk.type):
            values, rows = chunk.flatten(), pc.list_parent_indices(chunk).to_numpy() + start
        if prefix:
            begins = pc.starts_with(values, prefix)
            values = pc.utf8_slice_codeunits(values.filter(begins), len(prefix))
            rows = rows[begins.to_numpy(zero_copy_only=False)]
        yield values, rows
        start += len(chunk)


def _row_of_id(table: SourceTable, name: str) -> int | None:
    digits = len(str(NO_SOURCE))
    if not (name.isascii() and name.isdigit() and len(name) <= digits) or int(name) >= NO_SOURCE:
        return None
    return table.row_of(int(name))


def _decide(
    table: SourceTable, request: Request, matches: Sequence[_Match], first_lines: dict[int, int]
) -> Resolution:
    """Judge one line; `first_lines` remembers the line that named a row first."""
    rows = {match.row for match in matches}
    if not rows:
        return _unknown(request, [])
    if len(rows) > 1:
        detail = _describe_choice(table, matches)
        return Resolution(request=request, outcome=Outcome.AMBIGUOUS, detail=detail)
    (row,) = rows
    source_id = int(table.source_ids[row])
    first = first_lines.setdefault(row, request.line)
    is_first = first == request.line
    return Resolution(
        request=request,
        outcome=Outcome.MATCHED if is_first else Outcome.DUPLICATE,
        source_id=source_id,
        title=table.title_of(source_id),
        detail="" if is_first else f"line {first} names it already",
    )


def _describe_choice(table: SourceTable, matches: Sequence[_Match]) -> str:
    choices = []
    for match in sorted(matches)[:_MAX_CHOICES]:
        source_id = int(table.source_ids[match.row])
        choices.append(f"{match.label} of {table.title_of(source_id)!r} (id:{source_id})")
    more = f" and {len(matches) - _MAX_CHOICES} more" if len(matches) > _MAX_CHOICES else ""
    return f"{', '.join(choices)}{more}; choose with id:, title: or key:"


def _unknown(request: Request, suggestions: Sequence[str]) -> Resolution:
    detail = "no source has this name"
    if suggestions:
        detail += f"; did you mean {' or '.join(map(repr, suggestions))}?"
    return Resolution(request=request, outcome=Outcome.UNKNOWN, detail=detail)


def _suggest(table: SourceTable, name: str) -> list[str]:
    """Return up to three titles like `name` among those that begin as it does."""
    name = str(fold_titles(pa.array([name], pa.string()))[0])
    if not name:
        return []
    titles = table.table.column("title")
    alike = titles.filter(
        pc.starts_with(titles, pattern=name[:_SHARED_PREFIX], ignore_case=True)
    ).combine_chunks()
    distances = np.abs(pc.utf8_length(alike).to_numpy() - len(name))
    nearest = np.argsort(distances, kind="stable")[:_MAX_CANDIDATES]
    return difflib.get_close_matches(name, alike.take(nearest).to_pylist(), n=3)
