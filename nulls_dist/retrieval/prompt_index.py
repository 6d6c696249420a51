"""Which surviving sources a text is nearest to.

1. The whole text is a title or an alias, as MediaWiki compares them: score 1.
2. Some words of it in a row are: 1/2 and half the share of the text that they take.
3. Names with words of the text, by BM25.
4. Titles spelt alike, by their vectors, where nothing found so far is a good match.

What 3 and 4 find is scored by the cosine of the encoder's vectors of text and name.
"""

import re
import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from nulls_dist.errors import InputError, IntegrityError
from nulls_dist.retrieval.encoder import Encoder, Vectors
from nulls_dist.retrieval.index_files import (
    IDS_FILE,
    NAMES_FILE,
    VECTOR_SCALE,
    VECTORS_FILE,
    name_hashes,
    read_manifest,
)
from nulls_dist.routing.router import Router
from nulls_dist.unlearn.names import fold_titles

_MAX_FOUND: Final = 32
"""By words, and by vectors."""
_MAX_TEXT_WORDS: Final = 64
_MAX_NAME_WORDS: Final = 8
_MIN_MENTION: Final = 3
_MAX_POSTINGS: Final = 50_000
_GOOD_MATCH: Final = 0.8
_BLOCK_ROWS: Final = 1 << 12
_PUNCTUATION: Final = " \t\n.,;:!?\"'()[]"


class Stage(StrEnum):
    """What found a source."""

    TITLE = "title"
    ALIAS = "alias"
    MENTION = "mention"
    """A title or alias inside the text."""
    WORDS = "words"
    SPELLING = "spelling"
    """The encoder's vectors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A surviving source near a text."""

    source_id: int
    title: str
    score: float
    """From 0 to 1."""
    stage: Stage
    name: str
    """The title or alias that was found."""


@dataclass(frozen=True, slots=True)
class _Hit:
    title_id: int
    score: float
    stage: Stage
    name: str


class PromptIndex:
    """An index opened for asking; never returns a source that the router refuses."""

    def __init__(
        self, root: Path, router: Router, encoder: Encoder, *, sources_sha256: str
    ) -> None:
        """Open an index.

        Args:
            root: its directory.
            router: knows which sources were deleted, also since the index was built.
            encoder: the one it was built with.
            sources_sha256: checksum of the source table that is in use.

        Raises:
            InputError: `root` is not an index, or of another table or encoder.
            IntegrityError: it is damaged.
        """
        manifest = read_manifest(root)
        if manifest.sources_sha256 != sources_sha256:
            raise InputError(
                f"{root} is the index of another source table; name a new directory to build one"
            )
        if manifest.encoder != encoder.name:
            raise InputError(
                f"{root} was built with the encoder {manifest.encoder}, not {encoder.name}; give "
                "the same, or name a new directory"
            )
        self._root = root
        self._num_titles = manifest.num_titles
        self._encoder = encoder
        try:
            self._source_ids = np.load(root / IDS_FILE)
            self._vectors = np.load(root / VECTORS_FILE, mmap_mode="r")
            uri = f"{(root / NAMES_FILE).resolve().as_uri()}?mode=ro&immutable=1"
            self._names = sqlite3.connect(uri, uri=True)
        except (OSError, EOFError, ValueError, sqlite3.Error) as error:
            raise IntegrityError(f"{root}: not readable as a prompt index: {error}") from error
        if not len(self._source_ids) == len(self._vectors) == self._num_titles:
            raise IntegrityError(f"{root}: its files do not hold {self._num_titles} titles each")
        self._is_live = ~router.is_deleted(self._source_ids)

    def close(self) -> None:
        """Close the files."""
        self._names.close()

    def search(self, text: str, limit: int) -> list[Candidate]:
        """Return up to `limit` surviving sources near a text, the nearest first.

        Raises:
            IntegrityError: the index is damaged.
        """
        try:
            hits = self._find(text)
            best: dict[int, _Hit] = {}
            for hit in sorted(hits, key=lambda hit: (-hit.score, hit.title_id)):
                best.setdefault(hit.title_id, hit)
            return [self._describe(hit) for hit in list(best.values())[:limit]]
        except sqlite3.Error as error:
            raise IntegrityError(f"{self._root / NAMES_FILE}: {error}") from error

    def _find(self, text: str) -> list[_Hit]:
        asked = self._encoder.encode([text])[0]
        hits = [*self._find_names(text), *self._find_words(text, asked)]
        if max((hit.score for hit in hits), default=0.0) < _GOOD_MATCH:
            known = {(hit.title_id, hit.name) for hit in hits}  # rounded vectors differ a little
            near = self._find_vectors(asked)
            hits += [hit for hit in near if (hit.title_id, hit.name) not in known]
        return hits

    def _find_names(self, text: str) -> Iterator[_Hit]:
        """Find names that are the text or stand in it."""
        spans = sorted(_spans(text)) or [""]
        shares: dict[str, float] = {}
        for span, folded in zip(spans, fold_titles(pa.array(spans)).to_pylist(), strict=True):
            share = 1.0 if len(span) >= len(text.strip(_PUNCTUATION)) else len(span) / len(text)
            shares[folded] = max(share, shares.get(folded, 0.0))
        hashes = name_hashes(pa.array(list(shares)))
        marks = ",".join("?" * len(hashes))
        query = f"select id, title_id, name from names where hash in ({marks}) order by id"
        found = self._names.execute(query, hashes).fetchall()
        folded_names = fold_titles(pa.array([name for *_, name in found], pa.string())).to_pylist()
        for (number, title_id, name), folded in zip(found, folded_names, strict=True):
            share = shares.get(folded, 0.0)
            if not share or not folded or not self._is_live[title_id - 1]:
                continue
            whole = Stage.TITLE if number <= self._num_titles else Stage.ALIAS
            stage = whole if share == 1 else Stage.MENTION
            yield _Hit(title_id, (1 + share) / 2, stage, name)

    def _find_words(self, text: str, asked: Vectors) -> list[_Hit]:
        """Find names that share words with the text."""
        words = self._rare_words(text)
        if not words:
            return []
        matched = self._names.execute(
            "select rowid from words where words match ? order by rank, rowid",
            (" OR ".join(f'"{word}"' for word in words),),
        )
        found: list[tuple[int, str]] = []
        for (number,) in matched:
            query = "select title_id, name from names where id = ?"
            title_id, name = self._names.execute(query, (number,)).fetchone()
            if self._is_live[title_id - 1]:
                found.append((title_id, name))
            if len(found) == _MAX_FOUND:
                break
        cosines = self._encoder.encode([name for _, name in found]) @ asked
        return [
            _Hit(title_id, _score(cosine), Stage.WORDS, name)
            for (title_id, name), cosine in zip(found, cosines, strict=True)
        ]

    def _rare_words(self, text: str) -> list[str]:
        """Return the words of a text that are in some names, those in the fewest first.

        Frequent words are left out: they say little and would take long.
        """
        counts: dict[str, int] = {}
        for word in _words(text)[:_MAX_TEXT_WORDS]:
            query = "select doc from terms where term = ?"
            if count := self._names.execute(query, (word,)).fetchone():
                counts[word] = count[0]
        rarest = sorted(counts, key=lambda word: (counts[word], word))
        postings = np.cumsum([counts[word] for word in rarest])
        return rarest[: max(1, int(np.searchsorted(postings, _MAX_POSTINGS, side="right")))]

    def _find_vectors(self, asked: Vectors) -> list[_Hit]:
        """Find titles whose vectors are nearest."""
        cosines = np.empty(self._num_titles, dtype=np.float32)
        for begin in range(0, self._num_titles, _BLOCK_ROWS):
            block = self._vectors[begin : begin + _BLOCK_ROWS].astype(np.float32)
            cosines[begin : begin + len(block)] = block @ asked
        cosines /= VECTOR_SCALE
        cosines[~self._is_live] = -np.inf
        place = max(0, len(cosines) - _MAX_FOUND)
        lowest = np.partition(cosines, place)[place] if len(cosines) else 0.0
        nearest = np.flatnonzero(cosines >= lowest)  # in the order of titles, also where equal
        return [
            _Hit(int(row) + 1, _score(cosines[row]), Stage.SPELLING, self._title(int(row) + 1))
            for row in nearest
            if cosines[row] > 0
        ]

    def _describe(self, hit: _Hit) -> Candidate:
        return Candidate(
            source_id=int(self._source_ids[hit.title_id - 1]),
            title=self._title(hit.title_id),
            score=hit.score,
            stage=hit.stage,
            name=hit.name,
        )

    def _title(self, title_id: int) -> str:
        query = "select name from names where id = ?"
        return str(self._names.execute(query, (title_id,)).fetchone()[0])


def _score(cosine: float) -> float:
    """Return a score that does not depend on the order in which a product was added up."""
    return round(min(1.0, max(0.0, float(cosine))), 4)


def _spans(text: str) -> set[str]:
    """Return the text, and the runs of its words that may be names, without punctuation around."""
    words = text.split()[:_MAX_TEXT_WORDS]
    runs: Iterable[Sequence[str]] = (
        words[begin : begin + length]
        for begin in range(len(words))
        for length in range(1, _MAX_NAME_WORDS + 1)
    )
    spans = {" ".join(run).strip(_PUNCTUATION) for run in runs}
    whole = {text.strip(), text.strip(_PUNCTUATION)}
    return {span for span in spans if len(span) >= _MIN_MENTION} | {name for name in whole if name}


def _words(text: str) -> list[str]:
    """Return the distinct words of a text as the full-text index holds them."""
    decomposed = unicodedata.normalize("NFD", text)
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return list(dict.fromkeys(re.findall(r"[^\W_]+", plain.lower())))
