"""Did you mean: titles spelt like a name that no source has.

One pass over the titles reduces each to the set of its letter pairs, hashed to 64 bits; the titles
that share most of a name's pairs, wherever its mistake stands, are then compared letter by letter.
"""

import difflib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nulls_dist.data.source_table import SourceTable
from nulls_dist.hashing import U64Array
from nulls_dist.unlearn.names import fold_titles

_MAX_COMPARED: Final = 500
_MAX_SUGGESTED: Final = 3
_LOWER_CASE: Final = np.uint8(0x20)
_FACTORS: Final = (np.uint8(37), np.uint8(101))


def suggest_titles(table: SourceTable, names: Sequence[str]) -> list[list[str]]:
    """Return up to three titles like each name, the most alike first.

    Raises:
        IntegrityError: the table is damaged.
    """
    folded = fold_titles(pa.array(names, pa.string()))
    wanted = pair_sets(folded)
    best: list[list[tuple[float, str]]] = [[] for _ in names]
    for _, titles in table.batches("title"):
        pairs = pair_sets(titles)
        sizes = np.bitwise_count(pairs)
        for place, name in enumerate(wanted):
            shared = np.bitwise_count(pairs & name)
            scores = shared / np.maximum(sizes + np.bitwise_count(name), 1)
            rows = _highest(scores)
            best[place] += zip(scores[rows], titles.take(pa.array(rows)).to_pylist(), strict=True)
            best[place] = sorted(best[place], key=_by_score)[:_MAX_COMPARED]
    return [
        _closest(name, [title for _, title in entries])
        for name, entries in zip(folded.to_pylist(), best, strict=True)
    ]


def pair_sets(strings: Any) -> U64Array:
    """Return the pairs of neighbouring bytes of each string as a set of 64 hashes, case ignored.

    Args:
        strings: (N,) Arrow string array without nulls.

    Returns:
        (N,) uint64, a bit per hash; 0 for an empty string.
    """
    _, offsets_buffer, data = strings.buffers()
    if not len(strings) or data is None:
        return np.zeros(len(strings), dtype=np.uint64)
    offsets = np.frombuffer(offsets_buffer, np.int32)[strings.offset :][: len(strings) + 1]
    begin, end = int(offsets[0]), int(offsets[-1])
    first = np.frombuffer(data, np.uint8)[begin:end] | _LOWER_CASE
    second = np.append(first[1:], np.uint8(0))
    offsets = offsets - begin
    is_empty = np.diff(offsets) == 0
    second[offsets[1:][~is_empty] - 1] = 0  # the last byte's neighbour is the string's end
    hashed = np.right_shift(first * _FACTORS[0] + second * _FACTORS[1], 2, dtype=np.uint8)
    bits = np.append(np.uint64(1) << hashed.astype(np.uint64), np.uint64(0))
    return np.where(is_empty, np.uint64(0), np.bitwise_or.reduceat(bits, offsets[:-1]))


def _highest(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return where the highest scores are, in ascending order; of equal ones the first."""
    if len(scores) <= _MAX_COMPARED:
        return np.arange(len(scores))
    limit = np.partition(scores, -_MAX_COMPARED)[-_MAX_COMPARED]
    above, level = np.flatnonzero(scores > limit), np.flatnonzero(scores == limit)
    return np.sort(np.concatenate([above, level[: _MAX_COMPARED - len(above)]]))


def _by_score(entry: tuple[float, str]) -> float:
    return -entry[0]


def _closest(name: str, titles: Sequence[str]) -> list[str]:
    spelt = {title.casefold(): title for title in reversed(titles)}
    close = difflib.get_close_matches(name.casefold(), spelt, n=_MAX_SUGGESTED) if name else []
    return [spelt[title] for title in close]
