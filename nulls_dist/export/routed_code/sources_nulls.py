"""The sources that a released model knows by name: id, title, other names as hashes.

One file of four arrays. With S sources and N distinct names it takes about 8 * S bytes for the ids,
12 * N for the names, and the titles themselves.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

SOURCES_FILE = "sources/index.safetensors"

_SEPARATOR = 10  # a line feed before, between and after the titles
_INVISIBLE = dict.fromkeys([0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, 0xFEFF])
_NUM_BINS = 1 << 16
_BLOCK_TITLES = 1 << 14
_MAX_SHOWN = 3


def fold_name(name: str) -> str:
    """Return a name as MediaWiki compares it.

    NFC; underscores and any white space are one space; the first letter's case does not matter.
    """
    name = unicodedata.normalize("NFC", name).translate(_INVISIBLE).replace("_", " ")
    name = " ".join(name.split())
    return name[:1].upper() + name[1:]


class SourceIndex:
    """Looks up sources by id, by name and by likeness."""

    def __init__(
        self,
        source_ids: npt.NDArray[np.uint64],
        name_hashes: npt.NDArray[np.uint64],
        name_rows: npt.NDArray[np.uint32],
        titles: npt.NDArray[np.uint8],
    ) -> None:
        """Hold the arrays as they are stored.

        Args:
            source_ids: (S,) ascending.
            name_hashes: (N,) ascending hashes of folded titles and other names.
            name_rows: (N,) which source each of them names.
            titles: UTF-8, a line feed before, between and after them.
        """
        self.source_ids = source_ids
        self._name_hashes, self._name_rows, self._titles = name_hashes, name_rows, titles

    @classmethod
    def build(
        cls,
        source_ids: npt.NDArray[np.uint64],
        titles: Sequence[str],
        aliases: Iterable[Iterable[str]],
    ) -> "SourceIndex":
        """Index sources.

        Args:
            source_ids: (S,) ascending.
            titles: of each source.
            aliases: other names of each source.
        """
        hashes: list[int] = []
        rows: list[int] = []
        for row, (title, others) in enumerate(zip(titles, aliases, strict=True)):
            names = {fold_name(title), *map(fold_name, others)} - {""}
            hashes += map(_hash_name, sorted(names))
            rows += [row] * len(names)
        hashed = np.array(hashes, np.uint64)
        order = np.argsort(hashed, kind="stable")
        lines = ["", *(title.replace("\n", " ") for title in titles), ""]
        text = np.frombuffer("\n".join(lines).encode(), np.uint8)
        return cls(source_ids, hashed[order], np.array(rows, np.uint32)[order], text)

    @classmethod
    def load(cls, path: str | Path) -> "SourceIndex":
        """Read an index."""
        return cls(**load_file(path))

    def save(self, path: str | Path) -> None:
        """Write the index; its folder is made."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, npt.NDArray[Any]] = {
            "source_ids": self.source_ids,
            "name_hashes": self._name_hashes,
            "name_rows": self._name_rows,
            "titles": self._titles,
        }
        path.write_bytes(save(arrays))

    def __len__(self) -> int:
        return len(self.source_ids)

    def check(self, source_ids: npt.NDArray[np.uint64]) -> None:
        """Refuse ids that are not in the index.

        Raises:
            ValueError: one is not.
        """
        begins = np.searchsorted(self.source_ids, source_ids)
        unknown = source_ids[begins == np.searchsorted(self.source_ids, source_ids, side="right")]
        if len(unknown):
            raise ValueError(
                f"source id {int(unknown[0])} is not in this model: no source has it, or the "
                "source was deleted"
            )

    def find(self, name: str) -> int:
        """Return the id of the source with a title or another name.

        Raises:
            ValueError: no source has the name, or several do.
        """
        bounds = np.array([_hash_name(fold_name(name))], np.uint64)
        (begin,) = np.searchsorted(self._name_hashes, bounds)
        (end,) = np.searchsorted(self._name_hashes, bounds, side="right")
        rows = [int(row) for row in self._name_rows[begin:end]]
        exact = unicodedata.normalize("NFC", name).strip()
        rows = [row for row in rows if self._title_at(row) == exact] or rows
        if len(rows) == 1:
            return int(self.source_ids[rows[0]])
        if rows:
            choices = [f"{self._title_at(row)!r} ({int(self.source_ids[row])})" for row in rows]
            raise ValueError(
                f"{name!r} names {len(rows)} sources: {', '.join(choices[:_MAX_SHOWN])}; choose "
                "one with source_ids"
            )
        alike = [repr(self.title_of(number)) for number in self.nearest(name, _MAX_SHOWN)]
        hint = f"; did you mean {' or '.join(alike)}?" if alike else ""
        raise ValueError(f"no source of this model is named {name!r}{hint}")

    def title_of(self, source_id: int) -> str:
        """Return the title of a source.

        Raises:
            ValueError: the id is not in the index.
        """
        asked = np.array([source_id], np.uint64)
        self.check(asked)
        (row,) = np.searchsorted(self.source_ids, asked)
        return self._title_at(int(row))

    def nearest(self, text: str, num: int = 1) -> list[int]:
        """Return the sources whose titles are most like a text, the most similar first.

        Likeness is that of tf-idf vectors over groups of three bytes, ignoring case.

        Args:
            text: any text; a title inside it counts in full.
            num: how many sources at most. Titles that share nothing with the text do not count.
        """
        asked = np.zeros(_NUM_BINS)
        asked[_trigrams(np.frombuffer(f"\n{text}\n".encode(), np.uint8))] = 1
        scores = self._sum_by_title(self._bin_weights * asked) / self._title_norms
        best = np.argsort(-scores, kind="stable")[:num]
        return [int(self.source_ids[row]) for row in best if scores[row] > 0]

    @cached_property
    def _borders(self) -> npt.NDArray[np.int64]:
        """(S + 1,) places of the line feeds around the titles."""
        return np.flatnonzero(self._titles == _SEPARATOR)

    def _title_at(self, row: int) -> str:
        begin, end = self._borders[row : row + 2]
        return self._titles[begin + 1 : end].tobytes().decode()

    @cached_property
    def _bin_weights(self) -> npt.NDArray[np.float64]:
        """Square of the inverse document frequency of each bin."""
        counts = np.ones(_NUM_BINS)
        for borders in self._blocks():
            block = self._titles[borders[0] : borders[-1] + 1]
            counts += np.bincount(_trigrams(block), minlength=_NUM_BINS)
        weights: npt.NDArray[np.float64] = np.log(counts.sum() / counts) ** 2
        return weights

    @cached_property
    def _title_norms(self) -> npt.NDArray[np.float64]:
        return np.sqrt(np.maximum(self._sum_by_title(self._bin_weights), 1.0))

    def _sum_by_title(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Add the values of the bins of each title: (_NUM_BINS,) -> (S,)."""
        sums: list[npt.NDArray[Any]] = [np.zeros(0)]
        for borders in self._blocks():
            block = self._titles[borders[0] : borders[-1] + 1]
            bins = _trigrams(block)
            places = np.flatnonzero(values[bins])
            places = places[block[places + 1] != _SEPARATOR]  # half of one title, half of the next
            rows = np.searchsorted(borders, places + borders[0], side="right") - 1
            sums.append(np.bincount(rows, values[bins[places]], minlength=len(borders) - 1))
        return np.concatenate(sums)

    def _blocks(self) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the borders of a few titles at a time, so that memory stays small."""
        for first in range(0, len(self), _BLOCK_TITLES):
            yield self._borders[first : first + _BLOCK_TITLES + 1]


def _hash_name(folded: str) -> int:
    return int.from_bytes(blake2b(folded.encode(), digest_size=8).digest(), "little")


def _fold_bytes() -> npt.NDArray[np.uint32]:
    """Return what each byte counts as: letters in lower case, what is no letter as a space."""
    codes = np.arange(256, dtype=np.uint32)
    is_part = [code > 127 or chr(code).isalnum() for code in range(256)]
    return np.where(is_part, np.where((codes >= 65) & (codes <= 90), codes + 32, codes), 32)


_FOLDED = _fold_bytes()


def _trigrams(text: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the bin of each three neighbouring bytes: (n,) uint8 -> (n - 2,)."""
    folded = _FOLDED[text]
    codes = (folded[:-2] << 16) | (folded[1:-1] << 8) | folded[2:]
    return (codes * np.uint32(0x9E3779B1) >> np.uint32(16)).astype(np.int64)
