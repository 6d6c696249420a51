"""The corpus on disk: the contract between data preparation and everything that reads.

    manifest.json              written last; names, versions, counts, checksums of all files
    partitions/part-00000.arrow   Arrow IPC file format, uncompressed; one row = one document
    sources.parquet            one row = one source, sorted by source_id
    tokenizer/                 tokenizer.json (Hugging Face) or spm.model (SentencePiece)
    facts.parquet              cloze probes, where the corpus was generated
    duplicates.parquet         near-duplicates across sources, where they were looked for

Partition p of P holds the buckets [p * B / P, (p + 1) * B / P); rows are sorted by
(source_id, doc_index). `FORMAT_VERSION` is written into the manifest and checked on read.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import pyarrow as pa

from nulls_dist.durable import FileRecord, read_versioned_json
from nulls_dist.errors import InputError, IntegrityError
from nulls_dist.routing.router import NUM_BUCKETS, ROUTER_VERSION
from nulls_dist.self_checksum import CHECKSUM_FIELD, check_checksum, with_checksum

FORMAT_VERSION: Final = 1
MANIFEST_FILE: Final = "manifest.json"
SOURCES_FILE: Final = "sources.parquet"
FACTS_FILE: Final = "facts.parquet"
DUPLICATES_FILE: Final = "duplicates.parquet"
TOKENIZER_DIR: Final = "tokenizer"
PARTITIONS_DIR: Final = "partitions"
MAX_UINT16_VOCAB: Final = 1 << 16

TokenType = Literal["uint16", "uint32"]
_Record = TypeVar("_Record")

SOURCES_SCHEMA: Final = pa.schema(
    [
        pa.field("source_id", pa.uint64(), nullable=False),
        pa.field("source_key", pa.string(), nullable=False),
        pa.field("index", pa.uint64(), nullable=False),  # place among the sources as read, from 0
        pa.field("title", pa.string(), nullable=False),
        pa.field("aliases", pa.list_(pa.string()), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("revision", pa.uint64(), nullable=False),
        pa.field("timestamp", pa.string(), nullable=False),
        pa.field("licence", pa.string(), nullable=False),
        pa.field(
            "grouping", pa.string(), nullable=False
        ),  # what it is part of, such as a publisher
        pa.field("bucket", pa.uint16(), nullable=False),
        pa.field("num_documents", pa.uint32(), nullable=False),
        pa.field("num_tokens", pa.uint64(), nullable=False),
    ]
)


def document_schema(token_type: TokenType) -> pa.Schema:
    """Return the schema of a partition file; tokens end with the end-of-document token."""
    return pa.schema(
        [
            pa.field("source_id", pa.uint64(), nullable=False),
            pa.field("doc_index", pa.uint32(), nullable=False),
            pa.field("rev_id", pa.uint64(), nullable=False),
            pa.field("text_digest", pa.binary(16), nullable=False),
            pa.field("tokens", pa.list_(pa.field("item", pa.type_for_alias(token_type))), False),
        ]
    )


def token_type_for(vocab_size: int) -> TokenType:
    """Return the smallest token type that holds a vocabulary."""
    return "uint16" if vocab_size <= MAX_UINT16_VOCAB else "uint32"


def partition_of(bucket: int, num_partitions: int) -> int:
    """Return the partition that holds a bucket."""
    return bucket * num_partitions // NUM_BUCKETS


def partition_file(index: int) -> str:
    """Return a partition's path relative to the corpus."""
    return f"{PARTITIONS_DIR}/part-{index:05d}.arrow"


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerRecord:
    """Which tokenizer made the tokens."""

    kind: Literal["hf", "sentencepiece"]
    file: str
    """Relative to the corpus or checkpoint."""
    sha256: str
    vocab_size: int
    eos_id: int
    """Token that ends every document."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusManifest:
    """Contents of manifest.json."""

    corpus: str
    """Name of the corpus; part of every source id."""
    router_seed: int
    tokenizer: TokenizerRecord
    token_type: TokenType
    num_partitions: int
    num_sources: int
    num_documents: int
    num_tokens: int
    files: tuple[FileRecord, ...]
    cleaner: str
    """Name and version of the text cleaner, for example "nulls-1"."""
    build: dict[str, Any] = field(default_factory=dict)
    """How it was built: input, options, package versions, pages left out and why."""
    router_version: int = ROUTER_VERSION
    format_version: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON-ready values, its own checksum among them."""
        return with_checksum(asdict(self))

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Return what must agree for a run to continue on a corpus: names, versions, checksums."""
        return {
            "corpus": self.corpus,
            "router_seed": self.router_seed,
            "router_version": self.router_version,
            "tokenizer_sha256": self.tokenizer.sha256,
            "partitions": {
                record.path: record.sha256
                for record in self.files
                if record.path.startswith(PARTITIONS_DIR)
            },
        }


def fingerprint_sha256(fingerprint: Mapping[str, Any]) -> str:
    """Return the checksum of a corpus's fingerprint, for records that need not spell it out."""
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()


def read_manifest(root: Path) -> CorpusManifest:
    """Read and check a corpus's manifest.

    Raises:
        InputError: `root` is not a corpus.
        IntegrityError: the manifest is damaged or changed, or of an unknown version.
    """
    path = root / MANIFEST_FILE
    if not path.is_file():
        raise InputError(
            f"{root} is not a corpus: {MANIFEST_FILE} is missing; build one with "
            "python -m data_prep.build"
        )
    names = {*(entry.name for entry in fields(CorpusManifest)), CHECKSUM_FIELD}
    content = read_versioned_json(path, version=FORMAT_VERSION, names=names)
    if content["router_version"] != ROUTER_VERSION:
        raise IntegrityError(
            f"{path}: router_version ({content['router_version']}) must be {ROUTER_VERSION}, the "
            "one implemented here; build again"
        )
    check_checksum(content, path)
    del content[CHECKSUM_FIELD]
    try:
        content["tokenizer"] = _build(TokenizerRecord, content["tokenizer"])
        content["files"] = tuple(_build(FileRecord, record) for record in content["files"])
        return _build(CorpusManifest, content)
    except TypeError as error:
        raise IntegrityError(f"{path}: {error}") from error


def _build(kind: type[_Record], content: dict[str, Any]) -> _Record:
    """Build a record whose values have exactly the types it declares (true is not 1)."""
    record = kind(**content)
    for name, hint in get_type_hints(kind).items():
        value, expected = getattr(record, name), get_origin(hint) or hint
        fits = value in get_args(hint) if expected is Literal else type(value) is expected
        if not fits:
            raise TypeError(f"{name} ({value!r}) is not of type {hint}")
    return record
