"""Corpora written by hand from the description of the format: the tests know every token."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nulls_dist.data.format import (
    MANIFEST_FILE,
    PARTITIONS_DIR,
    SOURCES_FILE,
    SOURCES_SCHEMA,
    CorpusManifest,
    TokenizerRecord,
    TokenType,
    document_schema,
    partition_file,
    partition_of,
)
from nulls_dist.durable import record_file, write_json
from nulls_dist.routing.router import buckets_of
from nulls_dist.sources import source_id_of

CORPUS = "handmade"
ROUTER_SEED = 3


@dataclass(frozen=True, kw_only=True)
class Text:
    """One document: its source's key, its number there and its tokens."""

    key: str
    doc_index: int = 0
    tokens: tuple[int, ...]

    @property
    def source_id(self) -> int:
        return source_id_of(CORPUS, self.key)

    @property
    def bucket(self) -> int:
        ids = np.array([self.source_id], dtype=np.uint64)
        return int(buckets_of(ids, router_seed=ROUTER_SEED)[0])


def counted_texts(num_sources: int, *, documents: int = 2, most_tokens: int = 40) -> list[Text]:
    """Documents of many lengths in which no two tokens are equal, token 0 left out."""
    texts, next_token = [], 1
    for source in range(num_sources):
        for doc_index in range(documents):
            length = 1 + (source * 7 + doc_index * 11) % most_tokens
            tokens = tuple(range(next_token, next_token + length))
            texts.append(Text(key=f"key {source}", doc_index=doc_index, tokens=tokens))
            next_token += length
    return texts


def write_corpus(
    root: Path,
    texts: Iterable[Text],
    *,
    num_partitions: int = 4,
    token_type: TokenType = "uint16",
    vocab_size: int = 1 << 16,
    rows_per_batch: int = 5,
) -> Path:
    """Write a whole corpus; return its directory."""
    texts = sorted(texts, key=lambda text: (text.source_id, text.doc_index))
    (root / PARTITIONS_DIR).mkdir(parents=True)
    files = []
    for partition in range(num_partitions):
        members = [text for text in texts if partition_of(text.bucket, num_partitions) == partition]
        path = partition_file(partition)
        write_partition(root / path, members, token_type, rows_per_batch)
        num_tokens = sum(len(text.tokens) for text in members)
        files.append(record_file(root, path, num_rows=len(members), num_tokens=num_tokens))
    num_sources = write_sources(root / SOURCES_FILE, texts)
    files.append(record_file(root, SOURCES_FILE, num_rows=num_sources))
    manifest = CorpusManifest(
        corpus=CORPUS,
        router_seed=ROUTER_SEED,
        tokenizer=TokenizerRecord(
            kind="hf",
            file="tokenizer/tokenizer.json",
            sha256="0" * 64,
            vocab_size=vocab_size,
            eos_id=0,
        ),
        token_type=token_type,
        num_partitions=num_partitions,
        num_sources=num_sources,
        num_documents=len(texts),
        num_tokens=sum(len(text.tokens) for text in texts),
        files=tuple(files),
        cleaner="none",
    )
    write_json(root / MANIFEST_FILE, manifest.to_dict())
    return root


def write_partition(
    path: Path, texts: Sequence[Text], token_type: TokenType, rows_per_batch: int
) -> None:
    """Write documents, in the given order, as one Arrow file."""
    schema = document_schema(token_type)
    with pa.ipc.new_file(path, schema) as writer:
        for begin in range(0, len(texts), rows_per_batch):
            rows = [
                {
                    "source_id": text.source_id,
                    "doc_index": text.doc_index,
                    "rev_id": 0,
                    "text_digest": bytes(16),
                    "tokens": list(text.tokens),
                }
                for text in texts[begin : begin + rows_per_batch]
            ]
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))


def write_sources(path: Path, texts: Sequence[Text]) -> int:
    """Write the source table of some documents in ascending id; return how many sources."""
    rows = {}
    for text in texts:
        row = {
            "source_id": text.source_id,
            "source_key": text.key,
            "title": f"title of {text.key}",
            "aliases": [],
            "index": len(rows),
            "url": "",
            "revision": 0,
            "timestamp": "",
            "licence": "CC0",
            "grouping": "",
            "bucket": text.bucket,
            "num_documents": 0,
            "num_tokens": 0,
        }
        row = rows.setdefault(text.source_id, row)
        row["num_documents"] += 1
        row["num_tokens"] += len(text.tokens)
    ordered = [rows[source_id] for source_id in sorted(rows)]
    pq.write_table(pa.Table.from_pylist(ordered, schema=SOURCES_SCHEMA), path)
    return len(ordered)
