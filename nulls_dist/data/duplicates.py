"""duplicates.parquet: texts of one source that come back, whole or nearly, in another.

A row is a pair of documents of two sources as they were read, each with its similarity: the Jaccard
similarity of the two texts' sets of word 5-grams, estimated from MinHash signatures; 1 where these
are equal, as those of equal texts are. Document a stands first: its source's key is the shorter
one, of equally long ones the smaller; rows are sorted by a, then b, in that order. Of texts whose
signatures are equal the first is a pair with each other one, not each with each.

The file's metadata name the `threshold` of similarity and the `policy`. With "report" the documents
are those of the corpus. With "group" and "drop" the pairs are a record: their sources were united,
or b left out, so no pair is left in the corpus.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from nulls_dist.data.format import DUPLICATES_FILE, CorpusManifest
from nulls_dist.durable import check_file
from nulls_dist.errors import IntegrityError

REPORT: Final = "report"
"""Policy of a corpus that holds the pairs."""

DUPLICATES_SCHEMA: Final = pa.schema(
    [
        pa.field("source_id_a", pa.uint64(), nullable=False),
        pa.field("doc_index_a", pa.uint32(), nullable=False),
        pa.field("source_id_b", pa.uint64(), nullable=False),
        pa.field("doc_index_b", pa.uint32(), nullable=False),
        pa.field("similarity", pa.float64(), nullable=False),  # from the threshold to 1
        pa.field("source_key_a", pa.string(), nullable=False),
        pa.field("title_a", pa.string(), nullable=False),
        pa.field("source_key_b", pa.string(), nullable=False),
        pa.field("title_b", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class NearDuplicate:
    """A source that holds a text of another one, whole or nearly."""

    source_id: int
    source_key: str
    title: str
    similarity: float
    """The highest of their documents'."""


class _Documents(NamedTuple):
    """The N documents that occur in pairs, and the pairs as their places."""

    source_ids: npt.NDArray[np.uint64]
    """(N,)"""
    places: npt.NDArray[np.int64]
    """(2, P): a and b of each pair."""
    heads: npt.NDArray[np.int64]
    """(N,): place of the first document with an equal signature."""


class DuplicateTable:
    """The pairs of a corpus; P pairs.

    Attributes:
        table: the columns of `DUPLICATES_SCHEMA`.
        threshold: least similarity.
        policy: what was done about the pairs: report, group or drop.
    """

    def __init__(self, path: Path) -> None:
        """Read a table.

        Raises:
            IntegrityError: the file is missing, damaged or breaks the format.
        """
        try:
            self.table: pa.Table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise IntegrityError(f"{path}: not readable as Parquet: {error}") from error
        if not self.table.schema.equals(DUPLICATES_SCHEMA):
            raise IntegrityError(f"{path}: schema differs from the format")
        metadata = self.table.schema.metadata or {}
        try:
            self.policy = metadata[b"policy"].decode()
            self.threshold = float(metadata[b"threshold"])
        except (KeyError, ValueError) as error:
            raise IntegrityError(f"{path}: metadata lack policy or threshold: {error}") from error
        similarity = self.table["similarity"].to_numpy()
        if not np.all((similarity >= self.threshold) & (similarity <= 1)):
            raise IntegrityError(f"{path}: a similarity is not from {self.threshold} to 1")
        if np.any(self.source_ids[0] == self.source_ids[1]):
            raise IntegrityError(f"{path}: a pair lies inside one source")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def source_ids(self) -> npt.NDArray[np.uint64]:
        """(2, P) uint64, the sources of a and b."""
        return np.stack([self.table[f"source_id_{side}"].to_numpy() for side in "ab"])

    def of_source(self, source_id: int) -> list[NearDuplicate]:
        """Return the sources that keep a text of this one alive, the most similar first.

        What is like a text is like every other text with an equal signature.
        """
        documents = self._documents
        heads, similarity = documents.heads, self.table["similarity"].to_numpy()
        best = np.zeros(len(heads))  # of the documents with this head, with a text of the source
        own = heads[documents.source_ids == source_id]
        best[own] = 1.0
        head_a, head_b = heads[documents.places]
        for here, there in ((head_a, head_b), (head_b, head_a)):
            is_near = np.isin(here, own)
            np.maximum.at(best, there[is_near], similarity[is_near])
        of_document = best[heads]
        others = np.flatnonzero((of_document > 0) & (documents.source_ids != source_id))
        found: dict[int, float] = {}
        for place in others.tolist():
            other, value = int(documents.source_ids[place]), float(of_document[place])
            found[other] = max(value, found.get(other, 0.0))
        listed = [self._describe(other, value) for other, value in found.items()]
        return sorted(listed, key=lambda entry: (-entry.similarity, entry.source_key))

    @cached_property
    def _documents(self) -> _Documents:
        pairs = np.stack([self.table[f"doc_index_{side}"].to_numpy() for side in "ab"])
        names = np.stack([self.source_ids, pairs.astype(np.uint64)], axis=-1)
        distinct, places = np.unique(names.reshape(-1, 2), axis=0, return_inverse=True)
        places = places.reshape(2, -1)
        heads = np.arange(len(distinct))
        same = self.table["similarity"].to_numpy() == 1
        heads[places[1, same]] = places[0, same]
        return _Documents(source_ids=distinct[:, 0], places=places, heads=heads)

    @cached_property
    def _first_places(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """The distinct sources and where each stands first, in column a followed by b."""
        return np.unique(self.source_ids.reshape(-1), return_index=True)

    def _describe(self, source_id: int, similarity: float) -> NearDuplicate:
        ids, places = self._first_places
        place = int(places[np.searchsorted(ids, np.uint64(source_id))])
        side, row = "ab"[place // len(self)], place % len(self)
        return NearDuplicate(
            source_id=source_id,
            source_key=str(self.table[f"source_key_{side}"][row]),
            title=str(self.table[f"title_{side}"][row]),
            similarity=similarity,
        )


def open_duplicates(root: Path, manifest: CorpusManifest) -> DuplicateTable | None:
    """Return the pairs of a corpus, None where it was built without looking for them.

    Raises:
        IntegrityError: the file is missing or damaged.
    """
    for record in manifest.files:
        if record.path == DUPLICATES_FILE:
            return DuplicateTable(check_file(root, record))
    return None
