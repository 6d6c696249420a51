"""Pairs of documents of different sources whose texts are the same or nearly so.

The join goes band by band over signatures on disk, in arrays: memory holds one band of all
documents (32 bytes each at the default threshold), a few numbers per document and the candidates.

Documents stand in one order that does not depend on the input's: by their source's key, shorter
keys first (which is the order of numbers where keys are numbers), then by their number in it.
Memory and time stay linear also where thousands of texts are alike: texts that count as the same
(those with equal signatures; equal ones, if they have no words) are compared through the first of
them, and within a bucket of a band a text is compared with the first one and with the `WINDOW`
before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.signatures import NUM_PERMUTATIONS, read_signatures
from nulls_dist.hashing import mix
from nulls_dist.sources import normalize_name, source_id_of

WINDOW: Final = 16
"""A bucket of up to 18 texts is compared each with each."""

_PAIRS_AT_ONCE: Final = 1 << 20

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """The signature files of a build."""

    folder: Path
    num_files: int
    bands: Sequence[str]
    """Columns of the bands."""

    def read(self, *names: str) -> pa.Table:
        """Return columns of all documents, in reading order."""
        return read_signatures(self.folder, self.num_files, names)


class DocumentOrder:
    """The documents of a build in the order of comparison; D documents, S sources.

    Attributes:
        rows: (D,) int64, the place of each in reading order.
        source_ids: (D,) uint64.
        doc_indices: (D,) uint32, the number of each in its source.
        sources: (D,) int64, the place of its source among the sources.
        source_keys: S keys, normalised, in order, an Arrow array.
    """

    def __init__(self, signed: Signed, corpus: str, *, shares_sources: bool) -> None:
        names = signed.read("source_key", "number", "doc_index")
        ids, keys = _identify(names["source_key"], corpus)
        _, firsts, source = np.unique(ids, return_index=True, return_inverse=True)
        order = _order_keys(keys.take(pa.array(firsts)))
        sources = np.argsort(order)[source]
        within = names["number" if shares_sources else "doc_index"].to_numpy()
        self.rows: Places = np.lexsort((within, sources))
        self.source_ids: npt.NDArray[np.uint64] = ids[self.rows]
        self.sources: Places = sources[self.rows]
        self.source_keys: Any = keys.take(pa.array(firsts[order]))
        self.doc_indices: npt.NDArray[np.uint32] = names["doc_index"].to_numpy()[self.rows]
        if shares_sources:
            firsts = np.searchsorted(self.sources, self.sources)
            self.doc_indices = (np.arange(len(ids)) - firsts).astype(np.uint32)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """P pairs of documents, sorted; places are those of a `DocumentOrder`."""

    first: Places
    """(P,)"""
    second: Places
    """(P,), each above the first."""
    similarity: npt.NDArray[np.float64]
    """(P,), from the threshold to 1."""

    def __len__(self) -> int:
        return len(self.first)


def find_pairs(signed: Signed, order: DocumentOrder, threshold: float) -> Pairs:
    """Return the pairs of different sources from a threshold of similarity on.

    All texts that are the same are found. A pair is found if its signatures agree in some band (at
    the threshold `MIN_RECALL` of the pairs, well above it nearly all) and enough of their values
    are equal, which decides near the threshold by chance.
    """
    groups = _group_same(signed, order)
    has_words = signed.read("has_words")["has_words"].to_numpy()[order.rows]
    compared = groups.firsts[has_words[groups.firsts]]
    low, high = _find_candidates(signed, order.rows[compared])
    similarity = _estimate(signed, order.rows[compared], low, high)
    is_near = similarity >= threshold
    others = _first_of_other_source(groups, order)[has_words[groups.firsts]]
    near = _across_sources(compared, others, low[is_near], high[is_near], order.sources)
    copies, of_copies = groups.copies, groups.heads_of_copies
    is_across = order.sources[copies] != order.sources[of_copies]
    ends = np.concatenate([near[:2], np.stack([of_copies, copies])[:, is_across]], axis=1)
    ends.sort(axis=0)
    values = np.concatenate([similarity[is_near][near[2]], np.ones(is_across.sum())])
    sequence = np.lexsort((ends[1], ends[0]))
    return Pairs(first=ends[0, sequence], second=ends[1, sequence], similarity=values[sequence])


def _identify(column: Any, corpus: str) -> tuple[npt.NDArray[np.uint64], pa.Array]:
    """Return the ids and the normalised keys of documents, given their source keys."""
    ids, keys = [np.empty(0, np.uint64)], [pa.array([], pa.string())]
    for chunk in column.chunks:
        names = chunk.to_pylist()  # one file at a time: Python's strings are large
        ids.append(np.array([source_id_of(corpus, name) for name in names], dtype=np.uint64))
        keys.append(pa.array(map(normalize_name, names), pa.string()))
    return np.concatenate(ids), pa.concat_arrays(keys)


def _order_keys(keys: pa.Array) -> Places:
    """Return the places of keys in order: shorter ones first, equally long ones as text."""
    table = pa.table({"length": pc.utf8_length(keys), "key": keys})
    order: Places = pc.sort_indices(
        table, sort_keys=[("length", "ascending"), ("key", "ascending")]
    ).to_numpy()
    return order.astype(np.int64)


class _SameTexts:
    """Documents grouped by equal texts; G groups.

    Attributes:
        firsts: (G,) place of the first document of each, ascending.
        copies: places of all others.
        heads_of_copies: for each copy the first document of its group.
        groups_of_copies: for each copy its group's number.
    """

    def __init__(self, identities: npt.NDArray[np.uint64]) -> None:
        sequence = np.lexsort((identities[:, 0], identities[:, 1]))  # stable: first places first
        values = identities[sequence]
        begins = np.ones(len(values), dtype=np.bool_)
        begins[1:] = np.any(values[1:] != values[:-1], axis=1)
        firsts = sequence[begins]
        by_first = np.argsort(firsts)
        self.firsts: Places = firsts[by_first]
        self.copies: Places = sequence[~begins]
        self.groups_of_copies: Places = np.argsort(by_first)[np.cumsum(begins)[~begins] - 1]
        self.heads_of_copies: Places = self.firsts[self.groups_of_copies]


def _group_same(signed: Signed, order: DocumentOrder) -> _SameTexts:
    identities = [np.empty((0, 2), np.uint64)]
    identities += [_to_integers(chunk, np.uint64) for chunk in _chunks(signed, "identity")]
    return _SameTexts(np.concatenate(identities)[order.rows])


def _first_of_other_source(groups: _SameTexts, order: DocumentOrder) -> Places:
    """(G,) for each group its first document of another source than the first's, or -1."""
    others = np.full(len(groups.firsts), -1, dtype=np.int64)
    is_other = order.sources[groups.copies] != order.sources[groups.heads_of_copies]
    # Reversed, so that the first of several is what stays.
    others[groups.groups_of_copies[is_other][::-1]] = groups.copies[is_other][::-1]
    return others


def _find_candidates(signed: Signed, rows: Places) -> tuple[Places, Places]:
    """Return the pairs of documents that agree in a band, each once, lower place first.

    Args:
        signed: the signatures.
        rows: (R,) the documents to compare, in reading order; places are those in this array.
    """
    found = np.empty(0, np.int64)
    for band in signed.bands:
        low, high = _pair_equal(_hash_band(signed, band)[rows])
        found = np.union1d(found, low * len(rows) + high)
    low, high = np.divmod(found, max(len(rows), 1))
    return low, high


def _pair_equal(keys: npt.NDArray[np.uint64]) -> tuple[Places, Places]:
    """Return pairs of equal keys: each with the first of its kind and the `WINDOW` before it."""
    sequence = np.argsort(keys, kind="stable")
    keys = keys[sequence]
    firsts = np.searchsorted(keys, keys)
    after_first = np.arange(len(keys)) - firsts
    far = np.flatnonzero(after_first > WINDOW)
    low, high = [sequence[firsts[far]]], [sequence[far]]
    for step in range(1, WINDOW + 1):
        later = np.flatnonzero(after_first >= step)
        low.append(sequence[later - step])
        high.append(sequence[later])
    return np.concatenate(low), np.concatenate(high)


def _estimate(signed: Signed, rows: Places, low: Places, high: Places) -> npt.NDArray[np.float64]:
    """Return the share of equal values in the signatures of each pair."""
    equal = np.zeros(len(low), np.int64)
    for band in signed.bands if len(low) else ():
        values = np.concatenate([_to_integers(chunk, np.uint32) for chunk in _chunks(signed, band)])
        for at in range(0, len(low), _PAIRS_AT_ONCE):
            some = slice(at, at + _PAIRS_AT_ONCE)
            equal[some] += (values[rows[low[some]]] == values[rows[high[some]]]).sum(axis=1)
    return equal / NUM_PERMUTATIONS


def _across_sources(
    firsts: Places, others: Places, low: Places, high: Places, sources: Places
) -> Places:
    """Name each pair of groups of equal texts by two documents of different sources.

    Args:
        firsts: (R,) first document of each group.
        others: (R,) its first document of another source, or -1.
        low: (C,) groups.
        high: (C,) groups.
        sources: source of every document.

    Returns:
        (3, C'): the two documents and the number of the pair; without pairs inside one source.
    """
    chosen = np.stack([firsts[low], firsts[high]])
    is_inside = sources[chosen[0]] == sources[chosen[1]]
    for side, groups in ((1, high), (0, low)):
        use = is_inside & (others[groups] >= 0)
        chosen[side, use] = others[groups[use]]
        is_inside &= ~use
    numbers = np.flatnonzero(~is_inside)
    return np.concatenate([chosen[:, numbers], numbers[np.newaxis]])


def _hash_band(signed: Signed, band: str) -> npt.NDArray[np.uint64]:
    """Return a hash of each document's values in a band, in reading order."""
    hashes = [np.empty(0, np.uint64)]
    for chunk in _chunks(signed, band):
        keys = np.zeros(len(chunk), np.uint64)
        for column in _to_integers(chunk, np.uint32).T:
            keys = mix(keys ^ column)
        hashes.append(keys)
    return np.concatenate(hashes)


def _chunks(signed: Signed, name: str) -> list[pa.Array]:
    """Return a column's pieces that hold something, memory-mapped."""
    return [chunk for chunk in signed.read(name)[name].chunks if len(chunk)]


def _to_integers(array: pa.Array, kind: type[np.unsignedinteger]) -> npt.NDArray[Any]:
    """Return fixed-size binary values as rows of native integers, without a copy."""
    width = array.type.byte_width
    values = np.frombuffer(array.buffers()[1], np.uint8)
    values = values[array.offset * width : (array.offset + len(array)) * width]
    return values.view(kind).reshape(len(array), -1)
