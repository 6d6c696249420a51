"""Which rows of a source table have a requested name; all requests and one pass per column at once.

N names, M matches.

1. The names asked for are folded, and each is reduced to a fingerprint of 64 bits.
2. A column of the table passes by in batches. Only values whose fingerprint may be among those of
   the names are kept: about as many as match.
3. What was kept is compared with the names, string by string.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nulls_dist import hashing
from nulls_dist.data.source_table import SourceTable, strings_of
from nulls_dist.hashing import U64Array
from nulls_dist.source_list import Means
from nulls_dist.unlearn.names import fold_keys, fold_titles, fold_urls

_WORD_BYTES: Final = 8
_LOW_BYTES: Final = np.array([(1 << 8 * number) - 1 for number in range(9)], dtype=np.uint64)
"""Masks of the first bytes of a little-endian word, by their number."""
_FILTER_BITS: Final = 25

IntArray = npt.NDArray[np.int64]


class MatchedBy(StrEnum):
    """What of a source a line names."""

    TITLE = "title"
    ALIAS = "alias"
    KEY = "key"
    URL = "url"
    ID = "id"
    FORMER = "former name"
    """Of a source that another one took in when the corpus was built."""


@dataclass(frozen=True, slots=True)
class Way:
    """One column by which a line may name a source."""

    column: str
    label: MatchedBy
    fold: Callable[[Any], Any]
    means: Means
    pattern: str = ""
    """Regular expression of the column's names that matter; empty: all do."""


WAYS: Final = (
    Way("title", MatchedBy.TITLE, fold_titles, Means.TITLE),
    Way("aliases", MatchedBy.ALIAS, fold_titles, Means.ANY),
    Way("source_key", MatchedBy.KEY, fold_keys, Means.KEY),
    Way("url", MatchedBy.URL, fold_urls, Means.URL),
)


def _fold_former(names: Any) -> Any:
    """Fold names that are spelled with their means, such as "key:303"; the others become empty."""
    folded = pc.if_else(pc.is_valid(names), "", None)
    for means, fold in _FORMER_FOLDS.items():
        begins = pc.starts_with(names, f"{means}:")
        rest = pc.utf8_slice_codeunits(names.filter(begins), len(means) + 1)
        spelled = pc.binary_join_element_wise(f"{means}:", fold(rest), "")
        folded = pc.replace_with_mask(folded, begins, spelled)
    return folded


_FORMER_FOLDS: Final = {
    Means.ID: fold_keys,
    Means.TITLE: fold_titles,
    Means.KEY: fold_keys,
    Means.URL: fold_urls,
}
_SPELLED: Final = f"^(?:{'|'.join(_FORMER_FOLDS)}):"
FORMER_WAY: Final = Way("aliases", MatchedBy.FORMER, _fold_former, Means.ANY, _SPELLED)


def find_rows(table: SourceTable, way: Way, names: Any) -> tuple[IntArray, IntArray]:
    """Find the rows that each name means: those with its exact spelling, else with its folded form.

    Args:
        table: the sources.
        way: the column to look in.
        names: (N,) Arrow strings.

    Returns:
        (M,) places in `names`, ascending, and (M,) rows.

    Raises:
        IntegrityError: the file is damaged.
    """
    folded = way.fold(names)
    folded = pc.if_else(pc.equal(folded, ""), None, folded).dictionary_encode()
    if not len(folded.dictionary):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    forms, rows, spellings = _scan(table, way, folded.dictionary)
    order = np.argsort(forms, kind="stable")
    starts = np.searchsorted(forms[order], np.arange(len(folded.dictionary) + 1))
    form_of = folded.indices.fill_null(-1).to_numpy()
    named = np.flatnonzero(form_of >= 0)
    counts = np.diff(starts)[form_of[named]]
    places = np.repeat(named, counts)
    firsts = np.cumsum(counts) - counts
    within = np.arange(len(places)) - np.repeat(firsts, counts)
    hits = order[np.repeat(starts[form_of[named]], counts) + within]
    is_exact = pc.equal(
        fold_keys(names.take(pa.array(places))), fold_keys(spellings.take(pa.array(hits)))
    ).to_numpy(zero_copy_only=False)
    has_exact = np.zeros(len(names), dtype=bool)
    has_exact[places[is_exact]] = True
    kept = is_exact | ~has_exact[places]
    return places[kept], rows[hits[kept]]


def _scan(table: SourceTable, way: Way, forms: Any) -> tuple[IntArray, IntArray, Any]:
    """Return the places in `forms` of all matches, their rows and their spellings."""
    is_wanted = np.zeros(1 << _FILTER_BITS, dtype=bool)
    shift = np.uint64(64 - _FILTER_BITS)
    is_wanted[fingerprints(forms) >> shift] = True
    folded, rows, spellings = [], [np.zeros(0, dtype=np.int64)], []
    for begin, values in table.batches(way.column):
        strings, parents = strings_of(values)
        if way.pattern:
            among = pa.array(np.flatnonzero(pc.match_substring_regex(strings, way.pattern)))
            strings, parents = strings.take(among), parents[among]
        folds = way.fold(strings)
        kept = np.flatnonzero(is_wanted[fingerprints(folds) >> shift])
        folded.append(folds.take(pa.array(kept)))
        spellings.append(strings.take(pa.array(kept)))
        rows.append(parents[kept] + begin)
    candidates = pa.chunked_array(folded, pa.string()).combine_chunks()
    found = pc.index_in(candidates, value_set=forms).fill_null(-1).to_numpy()
    hits = np.flatnonzero(found >= 0)
    matched = pa.chunked_array(spellings, pa.string()).combine_chunks().take(pa.array(hits))
    return found[hits].astype(np.int64), np.concatenate(rows)[hits], matched


def fingerprints(strings: Any) -> U64Array:
    """Reduce strings to 64 bits: their length and four words of eight bytes, spread over each.

    Equal strings have equal fingerprints; so may different ones, hence the comparison afterwards.

    Args:
        strings: (N,) Arrow string array without nulls.

    Returns:
        (N,) uint64.
    """
    _, offsets_buffer, data = strings.buffers()
    if not len(strings) or data is None:
        return np.zeros(len(strings), dtype=np.uint64)
    offsets = np.frombuffer(offsets_buffer, np.int32)[strings.offset :][: len(strings) + 1]
    base = int(offsets[0])
    content = np.zeros(int(offsets[-1]) - base + _WORD_BYTES, dtype=np.uint8)
    content[:-_WORD_BYTES] = np.frombuffer(data, np.uint8)[base : int(offsets[-1])]
    words = np.ndarray((len(content) - _WORD_BYTES + 1,), "<u8", buffer=content.data, strides=(1,))
    begins, lengths = offsets[:-1].astype(np.int64) - base, np.diff(offsets).astype(np.int64)
    own_bytes = _LOW_BYTES[np.minimum(lengths, _WORD_BYTES)]  # not those behind a short string
    spare = np.maximum(lengths - _WORD_BYTES, 0)
    third = spare // 3
    prints = lengths.view(np.uint64)
    for places in (begins, begins + third, begins + (spare - third), begins + spare):
        prints = prints * np.uint64(hashing.GOLDEN_GAMMA)
        prints += words[places] & own_bytes
    return hashing.mix(prints)
