"""A table of made-up sources of any size, and their names, for measuring look-ups.

Title and aliases are pairs of words, half of them with a third: name number n of the table is a
pair that no other number has, so a name means one source.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nulls_dist import hashing
from nulls_dist.data.format import SOURCES_SCHEMA
from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import buckets_of

URL_PREFIX: Final = "https://en.wikipedia.org/wiki/"
ALIASES_PER_SOURCE: Final = 1.5
"""About as many as the English Wikipedia has redirects per article."""
_WORD_BITS: Final = 13
_ROWS_PER_GROUP: Final = 1 << 17
_ONSETS: Final = ("b", "br", "c", "ch", "d", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "r", "s")
_VOWELS: Final = ("a", "e", "i", "o", "u", "ai", "ea", "ou")
_ENDINGS: Final = ("", "n", "l", "r", "s", "th", "m", "ck")
_THIRD: Final = ("", "", "", "", " (album)", " of Kent", " County", " River")


class RandomNames:
    """Name number n, from 0; distinct below 2^26."""

    def __init__(self) -> None:
        syllables = [onset + vowel for onset in _ONSETS for vowel in _VOWELS]
        size = 1 << _WORD_BITS
        draws = np.random.default_rng(0).permutation(len(syllables) ** 2 * len(_ENDINGS))
        firsts, rest = np.divmod(draws, len(syllables) * len(_ENDINGS))
        words = [
            syllables[first] + syllables[place // len(_ENDINGS)] + _ENDINGS[place % len(_ENDINGS)]
            for first, place in zip(firsts, rest, strict=True)
        ]
        distinct = list(dict.fromkeys(words))[:size]
        assert len(distinct) == size, "two syllables give enough words"
        self._words = pa.array([word.capitalize() for word in distinct])
        self._third = pa.array(_THIRD)

    def __call__(self, numbers: npt.NDArray[np.int64]) -> Any:
        """Return names: (N,) int64 -> (N,) Arrow strings."""
        mask = np.uint64((1 << _WORD_BITS) - 1)
        scrambled = numbers.astype(np.uint64) * np.uint64(hashing.GOLDEN_GAMMA)  # odd: bijective
        first, second = (scrambled >> np.uint64(_WORD_BITS)) & mask, scrambled & mask
        third = hashing.below(hashing.mix(scrambled), len(_THIRD))
        names = pc.binary_join_element_wise(self._word(first), self._word(second), " ")
        return pc.binary_join_element_wise(names, self._third.take(pa.array(third)), "")

    def _word(self, numbers: U64Array) -> Any:
        return self._words.take(pa.array(numbers))


def write_random_sources(path: Path, num_sources: int) -> None:
    """Write a source table; row r has key r, name r as title, its aliases from `first_aliases` on.

    Args:
        path: of the file.
        num_sources: at most 2^26 / (1 + ALIASES_PER_SOURCE).
    """
    names = RandomNames()
    step = (1 << 64) // max(1, num_sources)
    with pq.ParquetWriter(path, SOURCES_SCHEMA, compression="zstd") as writer:
        for begin in range(0, num_sources, _ROWS_PER_GROUP):
            rows = np.arange(begin, min(num_sources, begin + _ROWS_PER_GROUP))
            writer.write_table(_table_of(rows, names, num_sources, step))


def first_aliases(rows: npt.NDArray[np.int64], num_sources: int) -> npt.NDArray[np.int64]:
    """Return the number of the name that is the first alias of each row or of one after it."""
    numbers: npt.NDArray[np.int64] = np.floor(rows * ALIASES_PER_SOURCE).astype(np.int64)
    return num_sources + numbers


def _table_of(
    rows: npt.NDArray[np.int64], names: RandomNames, num_sources: int, step: int
) -> pa.Table:
    count = len(rows)
    ids = rows.astype(np.uint64) * np.uint64(step)
    titles = names(rows)
    borders = first_aliases(np.append(rows, rows[-1] + 1), num_sources)
    aliases = pa.ListArray.from_arrays(
        pa.array((borders - borders[0]).astype(np.int32)),
        names(np.arange(borders[0], borders[-1])),
    )
    urls = pc.binary_join_element_wise(URL_PREFIX, pc.replace_substring(titles, " ", "_"), "")
    columns = {
        "source_id": pa.array(ids),
        "source_key": pa.array(rows).cast(pa.string()),
        "index": pa.array(rows),
        "title": titles,
        "aliases": aliases,
        "url": urls,
        "bucket": pa.array(buckets_of(ids, router_seed=0)),
        "timestamp": pa.repeat("2023-11-01T00:00:00Z", count),
        "licence": pa.repeat("CC BY-SA 4.0", count),
        "grouping": pa.repeat("", count),
    }
    zeros = pa.repeat(0, count)
    filled = [columns.get(field.name, zeros).cast(field.type) for field in SOURCES_SCHEMA]
    return pa.Table.from_arrays(filled, schema=SOURCES_SCHEMA)
