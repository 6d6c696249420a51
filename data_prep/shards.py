"""Third stage: partitions and the rows of their sources, sorted, checked and checksummed."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.spill import read_spilled
from data_prep.steps import do_once
from nulls_dist.data.format import SOURCES_SCHEMA, TokenType, partition_file
from nulls_dist.data.partition import PartitionDocuments, PartitionPlace, write_documents
from nulls_dist.data.source_table import number_sources
from nulls_dist.durable import record_file, replaced_file
from nulls_dist.errors import InputError
from nulls_dist.routing.router import buckets_of
from nulls_dist.sources import normalize_name


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionOptions:
    """What every partition of a build has in common."""

    root: Path
    """Directory of the corpus."""
    spill: Path
    """Directory of the spill files."""
    num_spill_files: int
    sources: Path
    """Directory for the rows of the partitions' sources."""
    num_partitions: int
    token_type: TokenType
    tokenizer_sha256: str
    """Goes into each file's footer."""
    router_seed: int
    shares_sources: bool
    """Number the documents of a source in reading order, as any may name any source."""


def write_partition(partition: int, *, options: PartitionOptions) -> dict[str, Any]:
    """Write a partition and the rows of its sources, unless that is done.

    Returns:
        The manifest entry of the partition's file, JSON-ready.

    Raises:
        InputError: two source keys have one id, or a document occurs twice.
    """

    def write() -> dict[str, Any]:
        table = read_spilled(options.spill, options.num_spill_files, partition)
        spilled = _SpilledPartition(table, shares_sources=options.shares_sources)
        sources = _source_rows(spilled, options.router_seed)
        with (
            replaced_file(_source_file(options, partition)) as temporary,
            pa.ipc.new_file(temporary, SOURCES_SCHEMA) as writer,
        ):
            writer.write_table(sources)
        path = partition_file(partition)
        place = PartitionPlace(
            partition=partition,
            num_partitions=options.num_partitions,
            token_type=options.token_type,
            tokenizer_sha256=options.tokenizer_sha256,
        )
        with replaced_file(options.root / path) as temporary:
            write_documents(temporary, spilled.documents(), place)
        num_tokens = int(spilled.lengths.sum())
        record = record_file(
            options.root, path, num_rows=len(spilled.lengths), num_tokens=num_tokens
        )
        return asdict(record)

    return do_once(options.sources / f"{partition:05d}.json", write)


def read_sources(options: PartitionOptions) -> pa.Table:
    """Return the sources of all partitions, without aliases, in ascending id."""
    tables = [SOURCES_SCHEMA.empty_table()]
    for partition in range(options.num_partitions):
        with pa.memory_map(str(_source_file(options, partition))) as file:
            tables.append(pa.ipc.open_file(file).read_all())
    return number_sources(pa.concat_tables(tables)).combine_chunks()


def _source_file(options: PartitionOptions, partition: int) -> Path:
    return options.sources / f"{partition:05d}.arrow"


class _SpilledPartition:
    """The documents of a partition, in the order of the corpus; D documents.

    Attributes:
        table: their columns, sorted, without tokens.
        source_ids: (D,) uint64, ascending.
        doc_indices: (D,) uint32, ascending within a source.
        lengths: (D,) int64, tokens of each.
    """

    def __init__(self, table: pa.Table, *, shares_sources: bool) -> None:
        ids, numbers = table["source_id"].to_numpy(), table["number"].to_numpy()
        is_taken_in = table["is_taken_in"].to_numpy()
        within = np.where(is_taken_in | shares_sources, numbers, table["doc_index"].to_numpy())
        order = np.lexsort((within, is_taken_in, ids))  # own ones first: they describe the source
        self.table: pa.Table = table.drop_columns(["tokens"]).take(pa.array(order))
        self.source_ids: npt.NDArray[np.uint64] = ids[order]
        self.doc_indices: npt.NDArray[np.uint32] = self.table["doc_index"].to_numpy()
        if shares_sources:
            firsts = np.searchsorted(self.source_ids, self.source_ids)
            self.doc_indices = (np.arange(len(order)) - firsts).astype(np.uint32)
        else:
            self.doc_indices = _continue_numbers(self.doc_indices, is_taken_in[order])
        chunks = table["tokens"].chunks
        self._values = [chunk.values.to_numpy() for chunk in chunks]
        offsets = [chunk.offsets.to_numpy() for chunk in chunks]
        sizes = [len(chunk) for chunk in chunks]
        self._chunks = np.repeat(np.arange(len(chunks)), sizes)[order]
        self._begins = np.concatenate([entry[:-1] for entry in offsets]).astype(np.int64)[order]
        ends = np.concatenate([entry[1:] for entry in offsets]).astype(np.int64)[order]
        self.lengths: npt.NDArray[np.int64] = ends - self._begins

    def documents(self) -> PartitionDocuments:
        """Return the documents as a partition's file takes them."""
        return PartitionDocuments(
            source_ids=self.source_ids,
            doc_indices=self.doc_indices,
            rev_ids=self.table["rev_id"].to_numpy(),
            text_digests=self.table["text_digest"].combine_chunks(),
            lengths=self.lengths,
            read_tokens=self._read_tokens,
        )

    def _read_tokens(self, rows: slice) -> npt.NDArray[np.unsignedinteger]:
        ends = self._begins[rows] + self.lengths[rows]
        places = zip(
            self._chunks[rows].tolist(), self._begins[rows].tolist(), ends.tolist(), strict=True
        )
        return np.concatenate([self._values[chunk][begin:end] for chunk, begin, end in places])


def _continue_numbers(
    doc_indices: npt.NDArray[np.uint32], is_taken_in: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint32]:
    """Number documents that were taken in after the last own one, which stands before them."""
    places = np.arange(len(doc_indices))
    last_own = np.maximum.accumulate(np.where(is_taken_in, 0, places))
    return (doc_indices[last_own] + (places - last_own)).astype(np.uint32)


def _source_rows(spilled: _SpilledPartition, router_seed: int) -> pa.Table:
    """Return one row per source; a source is described by its first document."""
    ids, firsts, counts = np.unique(spilled.source_ids, return_index=True, return_counts=True)
    buckets = buckets_of(ids, router_seed=router_seed)
    numbers = spilled.table["number"].to_numpy()
    keys = spilled.table["source_key"].to_pylist()
    described = spilled.table.take(pa.array(firsts)).to_pylist()
    rows: list[dict[str, Any]] = []
    groups = zip(ids.tolist(), firsts.tolist(), counts.tolist(), buckets.tolist(), strict=True)
    for place, (source_id, first, count, bucket) in enumerate(groups):
        members = slice(first, first + count)
        _check_group(keys[members], spilled.doc_indices[members])
        document = described[place]
        rows.append(
            {
                "source_id": source_id,
                "source_key": document["source_key"],
                "index": int(numbers[members].min()),
                "title": document["title"],
                "aliases": [],
                "url": document["url"],
                "revision": document["rev_id"],
                "timestamp": document["timestamp"],
                "licence": document["licence"],
                "grouping": document["grouping"],
                "bucket": bucket,
                "num_documents": count,
                "num_tokens": int(spilled.lengths[members].sum()),
            }
        )
    return pa.Table.from_pylist(rows, schema=SOURCES_SCHEMA)


def _check_group(source_keys: list[str], doc_indices: npt.NDArray[np.uint32]) -> None:
    keys = sorted(set(map(normalize_name, source_keys)))
    if len(keys) > 1:
        raise InputError(
            f"source keys {keys[0]!r} and {keys[1]!r} have the same 64-bit id; they could not be "
            "deleted apart: rename one, or the corpus (--name)"
        )
    if np.any(doc_indices[1:] == doc_indices[:-1]):
        raise InputError(
            f"source key {keys[0]!r} occurs twice in the input with the same document number; "
            "a corpus holds each document once"
        )
