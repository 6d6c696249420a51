"""duplicates.parquet: texts of one source that come back, whole or nearly, in another.

A row is a pair of documents of two sources as they were read, each with its similarity: the Jaccard
similarity of the two texts' sets of word 5-grams, estimated from MinHash signatures; 1 where these
are equal, as those of equal texts are. Document a stands first: its source's key is the shorter
one, of equally long ones the smaller; rows are sorted by a, then b, in that order. Of texts whose
signatures are equal the first is a pair with each other one, not each with each.

The file's metadata name the `threshold` of similarity and the `Policy`, which is not "off". With
"report" the documents are those of the corpus. With "group" and "drop" the pairs are a record:
their sources were united, or b left out, so no pair is left in the corpus.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nulls_dist.data.format import DUPLICATES_FILE, CorpusManifest
from nulls_dist.durable import check_file
from nulls_dist.errors import IntegrityError

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


class Policy(StrEnum):
    """What a build does about near-duplicates across sources."""

    OFF = "off"
    """Nothing is looked for, so there is no file."""
    REPORT = "report"
    GROUP = "group"
    DROP = "drop"


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
    doc_indices: npt.NDArray[np.uint32]
    """(N,)"""
    cells: npt.NDArray[np.int64]
    """(N,): where each stands first, in column a followed by b."""


class DuplicateTable:
    """The pairs of a corpus; P pairs.

    Attributes:
        table: the columns of `DUPLICATES_SCHEMA`.
        threshold: least similarity.
        policy: what was done about the pairs.
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
            self.policy = Policy(metadata[b"policy"].decode())
            self.threshold = float(metadata[b"threshold"])
        except (KeyError, ValueError) as error:
            raise IntegrityError(f"{path}: no policy and threshold: {error}") from error
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

    def without(
        self, source_ids: npt.NDArray[np.uint64], documents: npt.NDArray[np.uint64]
    ) -> pa.Table:
        """Return the pairs that are left when documents go.

        Where the first of texts with equal signatures goes, the next one takes its place in pairs.

        Args:
            source_ids: (G,) sources that go with all their documents.
            documents: (K, 2) source and number of others that go.
        """
        found, order = self._documents, self._order
        names = np.rec.fromarrays([found.source_ids, found.doc_indices])
        gone = np.rec.fromarrays([documents[:, 0], documents[:, 1].astype(np.uint32)])
        stays = ~(np.isin(found.source_ids, source_ids) | np.isin(names, gone))
        stand_in = np.full(len(names), -1)  # by head: the first that stays
        staying = order[stays[order]][::-1]
        stand_in[found.heads[staying]] = staying
        stand_in = np.where(stays, np.arange(len(names)), stand_in[found.heads])
        is_left = np.all(stand_in[found.places] >= 0, axis=0)
        ranks = np.argsort(order)
        pairs = np.sort(ranks[stand_in[found.places]], axis=0)
        is_left &= found.source_ids[order[pairs[0]]] != found.source_ids[order[pairs[1]]]
        pairs, rows = np.unique(pairs[:, is_left], axis=1, return_index=True)
        similarity = self.table["similarity"].filter(pa.array(is_left)).take(pa.array(rows))
        return self._tabulate(order[pairs], similarity)

    @cached_property
    def _order(self) -> npt.NDArray[np.int64]:
        """(N,): the places of the documents in the order of pairs."""
        keys = self._cells_of("source_key")
        columns = {
            "length": pc.utf8_length(keys),
            "key": keys,
            "number": pa.array(self._documents.doc_indices),
        }
        by = [(name, "ascending") for name in columns]
        order = pc.sort_indices(pa.table(columns), sort_keys=by)
        return np.asarray(order.to_numpy(), dtype=np.int64)

    def _cells_of(self, column: str) -> pa.Array:
        """Return what columns a and b say of each document."""
        both = [self.table[f"{column}_{side}"].combine_chunks() for side in "ab"]
        return pa.concat_arrays(both).take(pa.array(self._documents.cells))

    def _tabulate(self, pairs: npt.NDArray[np.int64], similarity: pa.ChunkedArray) -> pa.Table:
        """Return pairs of places, (2, P), as the file has them."""
        columns: dict[str, pa.Array] = {"similarity": similarity.combine_chunks()}
        for name in ("source_id", "doc_index", "source_key", "title"):
            cells = self._cells_of(name)
            for side, places in zip("ab", pairs, strict=True):
                columns[f"{name}_{side}"] = cells.take(pa.array(places))
        ordered = [columns[entry.name] for entry in DUPLICATES_SCHEMA]
        return pa.table(ordered, schema=self.table.schema)

    @cached_property
    def _documents(self) -> _Documents:
        pairs = np.stack([self.table[f"doc_index_{side}"].to_numpy() for side in "ab"])
        names = np.stack([self.source_ids, pairs.astype(np.uint64)], axis=-1)
        distinct, cells, places = np.unique(
            names.reshape(-1, 2), axis=0, return_index=True, return_inverse=True
        )
        places = places.reshape(2, -1)
        heads = np.arange(len(distinct))
        same = self.table["similarity"].to_numpy() == 1
        heads[places[1, same]] = places[0, same]
        return _Documents(
            source_ids=distinct[:, 0],
            places=places,
            heads=heads,
            doc_indices=distinct[:, 1].astype(np.uint32),
            cells=cells,
        )

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


def write_duplicates(path: Path, table: pa.Table) -> None:
    """Write pairs, their metadata included."""
    pq.write_table(table, path, compression="zstd")


def open_duplicates(root: Path, manifest: CorpusManifest) -> DuplicateTable | None:
    """Return the pairs of a corpus, None where it was built without looking for them.

    Raises:
        IntegrityError: the file is missing or damaged.
    """
    for record in manifest.files:
        if record.path == DUPLICATES_FILE:
            return DuplicateTable(check_file(root, record))
    return None
