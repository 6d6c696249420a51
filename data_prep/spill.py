"""Tokens dealt to partitions on disk, so that one partition at a time is sorted in memory."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from data_prep.tokenize import TokenizedDocument
from nulls_dist.data.format import TokenType, partition_of
from nulls_dist.routing.router import buckets_of
from nulls_dist.sources import source_id_of

INDEX_DTYPE: Final = np.dtype(
    [
        ("source_id", "<u8"),
        ("number", "<u8"),  # of the document, in reading order
        ("doc_index", "<u4"),
        ("rev_id", "<u8"),
        ("text_digest", "V16"),
        ("begin", "<u8"),  # first token in the partition's token file
        ("length", "<u8"),
    ]
)

_FLUSH_BYTES: Final = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceText:
    """What a document says of its source."""

    source_key: str
    title: str
    url: str
    timestamp: str
    licence: str
    grouping: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SpilledPartition:
    """One partition's documents in reading order."""

    index: npt.NDArray[np.void]
    """(documents,) of `INDEX_DTYPE`."""
    tokens: npt.NDArray[np.unsignedinteger]
    """(tokens,) uint16 or uint32, memory-mapped."""
    texts: list[SourceText]


_TEXTS: Final = tuple(entry.name for entry in fields(SourceText))


class Spill:
    """Appends documents to one set of files per partition."""

    def __init__(
        self,
        folder: Path,
        *,
        corpus: str,
        router_seed: int,
        num_partitions: int,
        token_type: TokenType,
    ) -> None:
        self._folder = folder
        self._corpus = corpus
        self._router_seed = router_seed
        self._num_partitions = num_partitions
        self._token_type = token_type
        self._buffers: dict[Path, bytearray] = {}
        self._num_buffered = 0
        self._num_documents = 0
        self._num_tokens = [0] * num_partitions
        folder.mkdir()

    def add_all(self, documents: Iterable[TokenizedDocument]) -> None:
        """Append documents, each to the partition of its source's bucket."""
        for document in documents:
            self._add(document)
            if self._num_buffered >= _FLUSH_BYTES:
                self._flush()
        self._flush()

    def _add(self, tokenized: TokenizedDocument) -> None:
        document = tokenized.document
        source_id = source_id_of(self._corpus, document.source_key)
        ids = np.array([source_id], dtype=np.uint64)
        bucket = int(buckets_of(ids, router_seed=self._router_seed)[0])
        partition = partition_of(bucket, self._num_partitions)
        begin, length = self._num_tokens[partition], len(tokenized.tokens)
        entry = (source_id, self._num_documents, document.doc_index, document.rev_id)
        row = np.array([(*entry, tokenized.text_digest, begin, length)], dtype=INDEX_DTYPE)
        line = json.dumps([getattr(document, name) for name in _TEXTS], ensure_ascii=False)
        self._num_documents += 1
        self._num_tokens[partition] += length
        self._append(self._index_file(partition), row.tobytes())
        self._append(self._tokens_file(partition), tokenized.tokens.tobytes())
        self._append(self._texts_file(partition), line.encode() + b"\n")

    def _append(self, path: Path, content: bytes) -> None:
        self._buffers.setdefault(path, bytearray()).extend(content)
        self._num_buffered += len(content)

    def _flush(self) -> None:
        for path, content in self._buffers.items():
            with path.open("ab") as file:
                file.write(content)
        self._buffers.clear()
        self._num_buffered = 0

    def read(self, partition: int) -> SpilledPartition:
        """Return the documents of a partition."""
        if not self._num_tokens[partition]:
            index = np.empty(0, dtype=INDEX_DTYPE)
            return SpilledPartition(index=index, tokens=np.empty(0, self._token_type), texts=[])
        with self._texts_file(partition).open(encoding="utf-8", newline="\n") as file:
            texts = [
                SourceText(**dict(zip(_TEXTS, json.loads(line), strict=True))) for line in file
            ]
        return SpilledPartition(
            index=np.fromfile(self._index_file(partition), dtype=INDEX_DTYPE),
            tokens=np.memmap(self._tokens_file(partition), dtype=self._token_type, mode="r"),
            texts=texts,
        )

    def remove(self, partition: int) -> None:
        """Delete a partition's files, which are no longer needed."""
        for path in (
            self._index_file(partition),
            self._tokens_file(partition),
            self._texts_file(partition),
        ):
            path.unlink(missing_ok=True)

    def _index_file(self, partition: int) -> Path:
        return self._folder / f"{partition:05d}.index"

    def _tokens_file(self, partition: int) -> Path:
        return self._folder / f"{partition:05d}.tokens"

    def _texts_file(self, partition: int) -> Path:
        return self._folder / f"{partition:05d}.texts"
