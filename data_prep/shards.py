"""Third stage: partitions and the rows of their sources, sorted, checked and checksummed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from data_prep.spill import Spill, SpilledPartition
from nulls_dist.data.format import (
    FORMAT_VERSION,
    PARTITIONS_DIR,
    SOURCES_SCHEMA,
    TokenType,
    document_schema,
    partition_file,
)
from nulls_dist.durable import FileRecord, record_file
from nulls_dist.errors import InputError
from nulls_dist.routing.router import buckets_of

BATCH_BYTES: Final = 8 << 20
"""Tokens of one record batch, at least, the last one of a file excepted."""


def write_partitions(
    spill: Spill,
    root: Path,
    *,
    num_partitions: int,
    token_type: TokenType,
    tokenizer_sha256: str,
    router_seed: int,
) -> tuple[list[FileRecord], pa.Table]:
    """Write every partition file.

    Args:
        spill: documents dealt to partitions; emptied partition by partition.
        root: directory of the corpus.
        num_partitions: how many files.
        token_type: type of the stored tokens.
        tokenizer_sha256: goes into each file's footer.
        router_seed: seed of the corpus's router.

    Returns:
        The files' manifest entries, and the sources without aliases, in ascending id.

    Raises:
        InputError: two source keys have one id, or a document occurs twice.
    """
    (root / PARTITIONS_DIR).mkdir()
    records: list[FileRecord] = []
    tables = [SOURCES_SCHEMA.empty_table()]
    for partition in range(num_partitions):
        spilled = spill.read(partition)
        order = np.lexsort((spilled.index["doc_index"], spilled.index["source_id"]))
        tables.append(_source_rows(spilled, order, router_seed))
        path = partition_file(partition)
        footer = {
            "format_version": str(FORMAT_VERSION),
            "partition": str(partition),
            "num_partitions": str(num_partitions),
            "tokenizer_sha256": tokenizer_sha256,
        }
        _write_partition(root / path, spilled, order, token_type, footer)
        num_tokens = int(spilled.index["length"].sum())
        records.append(record_file(root, path, num_rows=len(order), num_tokens=num_tokens))
        del spilled
        spill.remove(partition)
    return records, _number_sources(pa.concat_tables(tables)).combine_chunks()


def _number_sources(sources: pa.Table) -> pa.Table:
    """Replace the number of each source's first document by its place; sort by id."""
    sources = sources.sort_by("index")
    column = SOURCES_SCHEMA.get_field_index("index")
    places = pa.array(np.arange(len(sources), dtype=np.uint64))
    return sources.set_column(column, SOURCES_SCHEMA.field("index"), places).sort_by("source_id")


def _write_partition(
    path: Path,
    spilled: SpilledPartition,
    order: npt.NDArray[np.int64],
    token_type: TokenType,
    footer: dict[str, str],
) -> None:
    schema = document_schema(token_type)
    with pa.ipc.new_file(path, schema, metadata=footer) as writer:
        for rows in _batches(spilled.index["length"][order], np.dtype(token_type).itemsize):
            index = spilled.index[order[rows]]
            tokens = _gather(spilled.tokens, index)
            offsets = np.concatenate([[0], np.cumsum(index["length"])]).astype(np.int32)
            columns = [
                pa.array(index["source_id"]),
                pa.array(index["doc_index"]),
                pa.array(index["rev_id"]),
                _fixed_binary(index["text_digest"]),
                pa.ListArray.from_arrays(offsets, pa.array(tokens)),
            ]
            batch = pa.RecordBatch.from_arrays(columns, schema=schema)
            writer.write_batch(batch, custom_metadata=batch_metadata(index["source_id"], tokens))


def batch_metadata(
    source_ids: npt.NDArray[np.uint64], tokens: npt.NDArray[np.unsignedinteger]
) -> dict[str, str]:
    """Return what a record batch says of itself: the range of its ids and its tokens' hash."""
    return {
        "min_source_id": str(int(source_ids.min())),
        "max_source_id": str(int(source_ids.max())),
        "tokens_xxh3_64": xxhash.xxh3_64_hexdigest(np.ascontiguousarray(tokens).data),
    }


def _batches(lengths: npt.NDArray[np.uint64], item_bytes: int) -> Iterator[slice]:
    """Yield consecutive rows that hold about `BATCH_BYTES` of tokens."""
    begin = num_bytes = 0
    for row, length in enumerate(lengths):
        num_bytes += int(length) * item_bytes
        if num_bytes >= BATCH_BYTES:
            yield slice(begin, row + 1)
            begin, num_bytes = row + 1, 0
    if begin < len(lengths):
        yield slice(begin, len(lengths))


def _gather(
    tokens: npt.NDArray[np.unsignedinteger], index: npt.NDArray[np.void]
) -> npt.NDArray[np.unsignedinteger]:
    ends = index["begin"] + index["length"]
    spans = zip(index["begin"].tolist(), ends.tolist(), strict=True)
    return np.concatenate([tokens[begin:end] for begin, end in spans])


def _fixed_binary(values: npt.NDArray[np.void]) -> pa.Array:
    width = values.dtype.itemsize
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(values), [None, pa.py_buffer(values.tobytes())]
    )


def _source_rows(
    spilled: SpilledPartition, order: npt.NDArray[np.int64], router_seed: int
) -> pa.Table:
    """Return one row per source; a source is described by its first document."""
    ids, firsts, counts = np.unique(
        spilled.index["source_id"][order], return_index=True, return_counts=True
    )
    buckets = buckets_of(ids, router_seed=router_seed)
    rows: list[dict[str, Any]] = []
    groups = zip(ids.tolist(), firsts.tolist(), counts.tolist(), buckets.tolist(), strict=True)
    for source_id, first, count, bucket in groups:
        members = order[first : first + count]
        _check_group(spilled, members)
        index, text = spilled.index[members], spilled.texts[members[0]]
        rows.append(
            {
                "source_id": source_id,
                "source_key": text.source_key,
                "index": int(index["number"].min()),
                "title": text.title,
                "aliases": [],
                "url": text.url,
                "revision": int(index["rev_id"][0]),
                "timestamp": text.timestamp,
                "licence": text.licence,
                "grouping": text.grouping,
                "bucket": bucket,
                "num_documents": count,
                "num_tokens": int(index["length"].sum()),
            }
        )
    return pa.Table.from_pylist(rows, schema=SOURCES_SCHEMA)


def _check_group(spilled: SpilledPartition, members: npt.NDArray[np.int64]) -> None:
    keys = sorted({spilled.texts[row].source_key for row in members.tolist()})
    if len(keys) > 1:
        raise InputError(
            f"source keys {keys[0]!r} and {keys[1]!r} have the same 64-bit id; they could not be "
            "deleted apart: rename one, or the corpus (--name)"
        )
    doc_indices = spilled.index["doc_index"][members]
    if np.any(doc_indices[1:] == doc_indices[:-1]):
        raise InputError(
            f"source key {keys[0]!r} occurs twice in the input with the same document number; "
            "a corpus holds each document once"
        )
