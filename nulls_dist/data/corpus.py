"""A corpus opened for reading: memory-mapped, zero-copy, random access to documents.

D is the number of documents; all arrays about documents are in one order: by partition, then by
(source_id, doc_index).
"""

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nulls_dist.data.format import (
    CorpusManifest,
    document_schema,
    partition_file,
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
        first_rows: list[int] = []
        row = 0
        for index in range(self.manifest.num_partitions):
            for batch in self._open_partition(partition_file(index), records):
                self._batches.append(batch)
                first_rows.append(row)
                row += batch.num_rows
        self._first_rows = np.array(first_rows, dtype=np.int64)
        self.source_ids = self._column("source_id", np.uint64)
        self.doc_indices = self._column("doc_index", np.uint32)
        self.lengths = _concatenate(
            [np.diff(batch.column("tokens").offsets.to_numpy()) for batch in self._batches],
            np.int64,
        )
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

    def tokens(self, document: int) -> npt.NDArray[np.unsignedinteger]:
        """Return the tokens of a document without copying: (length,) uint16 or uint32."""
        batch_index = int(np.searchsorted(self._first_rows, document, side="right")) - 1
        column = self._batches[batch_index].column("tokens")
        row = document - int(self._first_rows[batch_index])
        offsets = column.offsets
        begin, end = offsets[row].as_py(), offsets[row + 1].as_py()
        tokens: npt.NDArray[np.unsignedinteger] = column.values.to_numpy(zero_copy_only=True)
        return tokens[begin:end]

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
