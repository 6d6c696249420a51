"""A corpus opened for reading: memory-mapped, zero-copy, random access to documents.

D is the number of documents; all arrays about documents are in one order: by partition, then by
(source_id, doc_index).
"""

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nulls_dist.data.format import (
    CorpusManifest,
    document_schema,
    fingerprint_sha256,
    partition_file,
    partition_of,
    read_manifest,
)
from nulls_dist.durable import FileRecord, check_file, find_file
from nulls_dist.errors import IntegrityError
from nulls_dist.routing.router import NUM_BUCKETS, buckets_of

DType = TypeVar("DType", bound=np.generic)


class Corpus:
    """Documents of a corpus by number.

    Attributes:
        root: directory of the corpus.
        manifest: what the corpus says of itself.
        source_ids: (D,) uint64.
        doc_indices: (D,) uint32.
        lengths: (D,) int64 tokens per document, the end token included.
    """

    def __init__(self, root: Path) -> None:
        """Open a corpus; reads only the index columns.

        Raises:
            InputError: `root` is not a corpus.
            IntegrityError: a file is missing, truncated or has another schema.
        """
        self.root = root
        self.manifest: CorpusManifest = read_manifest(root)
        records = {record.path: record for record in self.manifest.files}
        self._batches: list[pa.RecordBatch] = []
        self._batch_rows: list[int] = []  # number of each batch's first document
        self._partition_rows = [0]  # number of each partition's first document, and D
        row = 0
        for index in range(self.manifest.num_partitions):
            for batch in self._open_partition(partition_file(index), records):
                self._batches.append(batch)
                self._batch_rows.append(row)
                row += batch.num_rows
            self._partition_rows.append(row)
        columns = [batch.column("tokens") for batch in self._batches]
        self._tokens = [column.values.to_numpy(zero_copy_only=True) for column in columns]
        self._offsets = [column.offsets.to_numpy(zero_copy_only=True) for column in columns]
        self.source_ids = self._column("source_id", np.uint64)
        self.doc_indices = self._column("doc_index", np.uint32)
        self.lengths = _concatenate([np.diff(offsets) for offsets in self._offsets], np.int64)
        if row != self.manifest.num_documents or self.lengths.sum() != self.manifest.num_tokens:
            raise IntegrityError(
                f"{root}: {row} documents with {self.lengths.sum()} tokens, but the manifest says "
                f"{self.manifest.num_documents} with {self.manifest.num_tokens}; build again"
            )

    def check_contents(self, *, part: int = 0, num_parts: int = 1) -> None:
        """Compare files with their checksums in the manifest; reads them whole.

        Args:
            part: which of the files: every `num_parts`-th from this one on.
            num_parts: among how many processes the files are divided.

        Raises:
            IntegrityError: a file differs.
        """
        for record in self.manifest.files[part::num_parts]:
            check_file(self.root, record)

    def _open_partition(self, name: str, records: dict[str, FileRecord]) -> list[pa.RecordBatch]:
        record = records.get(name)
        if record is None:
            raise IntegrityError(f"{self.root}: the manifest does not list {name}")
        path = find_file(self.root, record)
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            if not reader.schema.equals(document_schema(self.manifest.token_type)):
                raise IntegrityError(f"{path}: schema differs from the format")
            batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
            for batch in batches:
                _check_batch(batch, path)
        except (pa.ArrowException, OSError) as error:
            raise IntegrityError(f"{path}: not an Arrow file: {error}") from error
        return batches

    def _column(self, name: str, dtype: type[DType]) -> npt.NDArray[DType]:
        return _concatenate([batch.column(name).to_numpy() for batch in self._batches], dtype)

    @property
    def num_documents(self) -> int:
        """D."""
        return len(self.lengths)

    @property
    def fingerprint(self) -> str:
        """Checksum of the documents and of how they are routed, 64 hexadecimal digits."""
        return fingerprint_sha256(self.manifest.fingerprint)

    def tokens(self, document: int) -> npt.NDArray[np.unsignedinteger]:
        """Return the tokens of a document without copying: (length,) uint16 or uint32.

        Args:
            document: its number, from 0.
        """
        assert document >= 0, "documents are numbered from 0"
        batch = bisect_right(self._batch_rows, document) - 1
        row = document - self._batch_rows[batch]
        offsets = self._offsets[batch]
        tokens: npt.NDArray[np.unsignedinteger] = self._tokens[batch][
            offsets[row] : offsets[row + 1]
        ]
        return tokens

    def documents_of(self, source_id: int) -> range:
        """Return the numbers of a source's documents; none where the source is unknown."""
        ids = np.array([source_id], dtype=np.uint64)
        (bucket,) = buckets_of(ids, router_seed=self.manifest.router_seed).tolist()
        partition = partition_of(bucket, self.manifest.num_partitions)
        documents = self.documents_in(partition)
        members = self.source_ids[documents.start : documents.stop]
        first = documents.start + int(np.searchsorted(members, ids[0]))
        stop = documents.start + int(np.searchsorted(members, ids[0], side="right"))
        return range(first, stop)

    def documents_in(self, partition: int) -> range:
        """Return the numbers of a partition's documents."""
        return range(*self._partition_rows[partition : partition + 2])

    def token_blocks(self) -> Iterator[npt.NDArray[np.unsignedinteger]]:
        """Yield the tokens of all documents in order, without copying: the fastest way through.

        Yields:
            Whole documents end to end, some megabytes: (n,) uint16 or uint32.
        """
        for tokens, offsets in zip(self._tokens, self._offsets, strict=True):
            yield tokens[offsets[0] : offsets[-1]]

    def table(self) -> pa.Table:
        """Return all documents as one Arrow table, without copying."""
        schema = document_schema(self.manifest.token_type)
        return pa.Table.from_batches(self._batches, schema=schema)

    def buckets(self) -> npt.NDArray[np.int64]:
        """Return the router bucket of every document: (D,) int64."""
        return buckets_of(self.source_ids, router_seed=self.manifest.router_seed)

    def tokens_per_bucket(self) -> npt.NDArray[np.int64]:
        """Return how many tokens each bucket holds: (NUM_BUCKETS,) int64."""
        counts = np.zeros(NUM_BUCKETS, dtype=np.int64)
        np.add.at(counts, self.buckets(), self.lengths)
        return counts


def _check_batch(batch: pa.RecordBatch, path: Path) -> None:
    """Refuse a batch whose index is damaged; contents are for the checksums to tell."""
    batch.validate()
    if any(column.null_count for column in batch.columns):
        raise IntegrityError(f"{path}: values are missing; the file is damaged")
    if np.any(np.diff(batch.column("tokens").offsets.to_numpy()) < 1):
        raise IntegrityError(f"{path}: a document without tokens; the file is damaged")


def _concatenate(parts: list[npt.NDArray[Any]], dtype: type[DType]) -> npt.NDArray[DType]:
    return np.concatenate(parts).astype(dtype, copy=False) if parts else np.empty(0, dtype)
