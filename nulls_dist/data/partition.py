"""How documents become a partition's file: the same documents give the same bytes.

Whoever writes partitions, a build or a deletion, writes them here. Documents are cut into record
batches of `BATCH_BYTES` of tokens; file and batches say of themselves what readers and verification
compare.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from nulls_dist.data.format import FORMAT_VERSION, TokenType, document_schema

BATCH_BYTES: Final = 8 << 20
"""Tokens of one record batch, at least, the last one of a file excepted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionDocuments:
    """The documents of a partition in the order of the corpus; D documents."""

    source_ids: npt.NDArray[np.uint64]
    """(D,) ascending."""
    doc_indices: npt.NDArray[np.uint32]
    """(D,) ascending within a source."""
    rev_ids: npt.NDArray[np.uint64]
    """(D,)"""
    text_digests: pa.Array
    """D values of 16 bytes."""
    lengths: npt.NDArray[np.int64]
    """(D,) tokens of each."""
    read_tokens: Callable[[slice], npt.NDArray[np.unsignedinteger]]
    """Returns the tokens of consecutive documents, one after the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionPlace:
    """Which partition of which corpus a file is."""

    partition: int
    num_partitions: int
    token_type: TokenType
    tokenizer_sha256: str

    @property
    def footer(self) -> dict[str, str]:
        """What the file's footer says."""
        return {
            "format_version": str(FORMAT_VERSION),
            "partition": str(self.partition),
            "num_partitions": str(self.num_partitions),
            "tokenizer_sha256": self.tokenizer_sha256,
        }


def write_documents(path: Path, documents: PartitionDocuments, place: PartitionPlace) -> None:
    """Write a partition's file; memory holds the tokens of one batch."""
    schema = document_schema(place.token_type)
    with pa.ipc.new_file(path, schema, metadata=place.footer) as writer:
        for rows in _batches(documents.lengths, np.dtype(place.token_type).itemsize):
            tokens, source_ids = documents.read_tokens(rows), documents.source_ids[rows]
            offsets = np.concatenate([[0], np.cumsum(documents.lengths[rows])]).astype(np.int32)
            digests = documents.text_digests.slice(rows.start, rows.stop - rows.start)
            columns = [
                pa.array(source_ids),
                pa.array(documents.doc_indices[rows]),
                pa.array(documents.rev_ids[rows]),
                digests,
                pa.ListArray.from_arrays(offsets, pa.array(tokens)),
            ]
            batch = pa.RecordBatch.from_arrays(columns, schema=schema)
            writer.write_batch(batch, custom_metadata=batch_metadata(source_ids, tokens))


def batch_metadata(
    source_ids: npt.NDArray[np.uint64], tokens: npt.NDArray[np.unsignedinteger]
) -> dict[str, str]:
    """Return what a record batch says of itself: the range of its ids and its tokens' hash."""
    return {
        "min_source_id": str(int(source_ids.min())),
        "max_source_id": str(int(source_ids.max())),
        "tokens_xxh3_64": xxhash.xxh3_64_hexdigest(np.ascontiguousarray(tokens).data),
    }


def _batches(lengths: npt.NDArray[np.int64], item_bytes: int) -> Iterator[slice]:
    """Yield consecutive rows that hold about `BATCH_BYTES` of tokens."""
    begin = num_bytes = 0
    for row, length in enumerate(lengths):
        num_bytes += int(length) * item_bytes
        if num_bytes >= BATCH_BYTES:
            yield slice(begin, row + 1)
            begin, num_bytes = row + 1, 0
    if begin < len(lengths):
        yield slice(begin, len(lengths))
