"""Second stage: documents as tokens, dealt to partitions on disk.

A spill file holds the documents of a few parts: Arrow, one record batch per partition, in reading
order. The third stage reads one batch of each file, so partitions need nothing from each other and
memory holds one partition's index at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from data_prep.exclusion import Exclusion
from data_prep.extract import Extracted, spool_file
from data_prep.settlement import Settlement
from data_prep.spool import read_spool
from data_prep.steps import do_once
from data_prep.tokenize import TokenizedDocument, open_once, tokenize_document
from nulls_dist.data.format import TokenizerRecord, TokenType, partition_of, token_type_for
from nulls_dist.durable import replaced_file
from nulls_dist.routing.router import buckets_of
from nulls_dist.sources import source_id_of

MIN_GROUP_BYTES: Final = 1 << 20
MAX_GROUPS: Final = 2048
"""Bound of the spill files: every partition reads a piece of each."""

_TEXT_COLUMNS: Final = ("source_key", "title", "url", "timestamp", "licence", "grouping")


class PartSlice(NamedTuple):
    """The documents of one part that a corpus may hold."""

    spool: Path
    first: int
    """Number of the first document in reading order."""
    num_documents: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SpillOptions:
    """What every spill file of a build has in common."""

    root: Path
    """Directory of the corpus, which holds the tokenizer."""
    folder: Path
    corpus: str
    router_seed: int
    num_partitions: int
    tokenizer: TokenizerRecord
    exclusion: Exclusion
    settlement: Settlement


def spill_schema(token_type: TokenType) -> pa.Schema:
    """Return the columns of a spill file."""
    return pa.schema(
        [
            ("number", pa.uint64()),  # of the document, in reading order
            ("is_taken_in", pa.bool_()),  # from another source
            ("source_id", pa.uint64()),
            ("doc_index", pa.uint32()),
            ("rev_id", pa.uint64()),
            ("text_digest", pa.binary(16)),
            *((name, pa.string()) for name in _TEXT_COLUMNS),
            ("tokens", pa.list_(pa.type_for_alias(token_type))),
        ]
    )


def group_parts(found: Extracted) -> list[list[PartSlice]]:
    """Return consecutive parts in groups of about equal text, one spill file each."""
    target = max(MIN_GROUP_BYTES, -(-found.num_text_bytes // MAX_GROUPS))
    groups: list[list[PartSlice]] = []
    first = num_bytes = 0
    for part in found.parts:
        if num_bytes == 0:
            groups.append([])
        spool = spool_file(found.folder, part.number)
        groups[-1].append(PartSlice(spool, first, part.num_documents))
        first += part.num_documents
        num_bytes += part.num_text_bytes
        if num_bytes >= target:
            num_bytes = 0
    return groups


def spill_group(numbered: tuple[int, Sequence[PartSlice]], *, options: SpillOptions) -> int:
    """Write the spill file of a group, unless that is done; return its number."""
    number, parts = numbered
    path = spill_file(options.folder, number)

    def write() -> int:
        write_spill(path, _tokenize(parts, options), options)
        return number

    return do_once(path.with_suffix(".json"), write)


def spill_file(folder: Path, number: int) -> Path:
    """Return where the documents of a group are."""
    return folder / f"{number:08d}.arrow"


def _tokenize(
    parts: Sequence[PartSlice], options: SpillOptions
) -> Iterator[tuple[int, TokenizedDocument]]:
    tokenizer = open_once(options.root, options.tokenizer)
    for part in parts:
        documents = read_spool(part.spool, part.num_documents)
        for number, spooled in enumerate(documents, start=part.first):
            if not options.exclusion.keeps(spooled):
                continue
            settled = options.settlement.settle(number, spooled)
            if settled is not None:
                yield number, tokenize_document(settled, tokenizer, options.tokenizer)


def write_spill(
    path: Path, documents: Iterable[tuple[int, TokenizedDocument]], options: SpillOptions
) -> None:
    """Write documents, each with its number in reading order, batched by partition."""
    members: list[list[tuple[int, int, TokenizedDocument]]]
    members = [[] for _ in range(options.num_partitions)]
    for number, document in documents:
        source_id = source_id_of(options.corpus, document.document.source_key)
        ids = np.array([source_id], dtype=np.uint64)
        bucket = int(buckets_of(ids, router_seed=options.router_seed)[0])
        partition = partition_of(bucket, options.num_partitions)
        members[partition].append((number, source_id, document))
    schema = spill_schema(token_type_for(options.tokenizer.vocab_size))
    with replaced_file(path) as temporary, pa.ipc.new_file(temporary, schema) as writer:
        for rows in members:
            writer.write_batch(_to_batch(rows, schema))
            rows.clear()


def _to_batch(
    rows: Sequence[tuple[int, int, TokenizedDocument]], schema: pa.Schema
) -> pa.RecordBatch:
    documents = [tokenized.document for _, _, tokenized in rows]
    token_type = schema.field("tokens").type.value_type.to_pandas_dtype()
    tokens = [np.empty(0, token_type), *(tokenized.tokens for _, _, tokenized in rows)]
    offsets = np.cumsum([len(values) for values in tokens], dtype=np.int64)
    columns = [
        [number for number, _, _ in rows],
        [tokenized.is_taken_in for _, _, tokenized in rows],
        [source_id for _, source_id, _ in rows],
        [document.doc_index for document in documents],
        [document.rev_id for document in documents],
        [tokenized.text_digest for _, _, tokenized in rows],
        *([getattr(document, name) for document in documents] for name in _TEXT_COLUMNS),
    ]
    arrays = [pa.array(values, entry.type) for values, entry in zip(columns, schema, strict=False)]
    values = pa.array(np.concatenate(tokens))
    arrays.append(pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def read_spilled(folder: Path, num_files: int, partition: int) -> pa.Table:
    """Return the documents of a partition in reading order, memory-mapped."""
    batches = []
    for number in range(num_files):
        with pa.memory_map(str(spill_file(folder, number))) as file:
            batches.append(pa.ipc.open_file(file).get_batch(partition))
    return pa.Table.from_batches(batches)
