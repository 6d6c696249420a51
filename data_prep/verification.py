"""Every promise of the corpus format, checked file by file.

Checksums find damage that happened after the build; the rest finds a build, or another program's
corpus, that breaks the format although its checksums agree.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from nulls_dist.data.duplicates import Policy, open_duplicates
from nulls_dist.data.format import (
    DUPLICATES_FILE,
    MANIFEST_FILE,
    SOURCES_FILE,
    SOURCES_SCHEMA,
    CorpusManifest,
    document_schema,
    partition_file,
    partition_of,
    read_manifest,
)
from nulls_dist.data.partition import batch_metadata
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.durable import FileRecord, check_file
from nulls_dist.errors import InputError, IntegrityError
from nulls_dist.routing.router import buckets_of
from nulls_dist.sources import source_id_of

_ARROW_ERRORS: Final = (pa.ArrowException, OSError)


def verify_corpus(root: Path) -> CorpusManifest:
    """Check a corpus and return its manifest.

    Raises:
        InputError: `root` is not a corpus.
        IntegrityError: a file breaks the format; the message names it.
    """
    manifest = read_manifest(root)
    _require(
        manifest.num_partitions >= 1,
        root / MANIFEST_FILE,
        f"num_partitions is {manifest.num_partitions}, not a number of files",
    )
    records = {record.path: record for record in manifest.files}
    for record in manifest.files:
        check_file(root, record)
    _verify_tokenizer(root, manifest)
    partitions = [
        _verify_partition(root, manifest, records, partition)
        for partition in range(manifest.num_partitions)
    ]
    source_ids = np.concatenate([rows.source_ids for rows in partitions])
    lengths = np.concatenate([rows.lengths for rows in partitions])
    _require(
        len(source_ids) == manifest.num_documents and int(lengths.sum()) == manifest.num_tokens,
        root,
        f"{len(source_ids)} documents with {lengths.sum()} tokens, but the manifest says "
        f"{manifest.num_documents} with {manifest.num_tokens}",
    )
    _verify_sources(root, manifest, records, source_ids, lengths)
    doc_indices = np.concatenate([rows.doc_indices for rows in partitions])
    _verify_duplicates(root, manifest, source_ids, doc_indices)
    return manifest


def _require(holds: bool, path: Path, message: str) -> None:
    if not holds:
        raise IntegrityError(f"{path}: {message}; build the corpus again")


def _listed(root: Path, records: dict[str, FileRecord], name: str) -> FileRecord:
    _require(name in records, root / name, "the manifest does not list this file")
    return records[name]


def _verify_tokenizer(root: Path, manifest: CorpusManifest) -> None:
    path = root / manifest.tokenizer.file
    try:
        tokenizer = load_tokenizer(root, manifest.tokenizer)
    except InputError as error:
        raise IntegrityError(str(error)) from error
    _require(
        tokenizer.vocab_size == manifest.tokenizer.vocab_size
        and 0 <= manifest.tokenizer.eos_id < tokenizer.vocab_size,
        path,
        f"vocabulary of {tokenizer.vocab_size}, but the manifest says "
        f"{manifest.tokenizer.vocab_size} with end token {manifest.tokenizer.eos_id}",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rows:
    """The index columns of one partition, a value per document."""

    source_ids: npt.NDArray[np.uint64]
    doc_indices: npt.NDArray[np.uint32]
    lengths: npt.NDArray[np.int64]


def _verify_partition(
    root: Path, manifest: CorpusManifest, records: dict[str, FileRecord], partition: int
) -> _Rows:
    record = _listed(root, records, partition_file(partition))
    path = root / record.path
    try:
        rows = _verify_batches(path, manifest, partition)
    except _ARROW_ERRORS as error:
        raise IntegrityError(f"{path}: not readable as an Arrow file: {error}") from error
    ids, indices = rows.source_ids, rows.doc_indices
    later = (ids[1:] > ids[:-1]) | ((ids[1:] == ids[:-1]) & (indices[1:] > indices[:-1]))
    _require(bool(later.all()), path, "rows are not in ascending (source_id, doc_index)")
    buckets = buckets_of(ids, router_seed=manifest.router_seed)
    homes = [partition_of(bucket, manifest.num_partitions) for bucket in buckets.tolist()]
    _require(set(homes) <= {partition}, path, "a source belongs to another partition")
    num_tokens = int(rows.lengths.sum())
    _require(
        (record.num_rows, record.num_tokens) == (len(ids), num_tokens),
        path,
        f"{len(ids)} documents with {num_tokens} tokens, but the manifest says "
        f"{record.num_rows} with {record.num_tokens}",
    )
    return rows


def _verify_batches(path: Path, manifest: CorpusManifest, partition: int) -> _Rows:
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    schema = document_schema(manifest.token_type)
    _require(reader.schema.equals(schema), path, "schema differs from the format")
    _verify_footer(path, reader.metadata or {}, manifest, partition)
    ids = [np.empty(0, np.uint64)]
    doc_indices = [np.empty(0, np.uint32)]
    lengths = [np.empty(0, np.int64)]
    for number in range(reader.num_record_batches):
        batch, metadata = reader.get_batch_with_custom_metadata(number)
        batch.validate(full=True)
        ids.append(batch.column("source_id").to_numpy())
        doc_indices.append(batch.column("doc_index").to_numpy())
        lengths.append(_verify_batch(path, batch, dict(metadata or {}), manifest))
    return _Rows(
        source_ids=np.concatenate(ids),
        doc_indices=np.concatenate(doc_indices),
        lengths=np.concatenate(lengths),
    )


def _verify_footer(
    path: Path, footer: dict[bytes, bytes], manifest: CorpusManifest, partition: int
) -> None:
    expected = {
        "format_version": str(manifest.format_version),
        "partition": str(partition),
        "num_partitions": str(manifest.num_partitions),
        "tokenizer_sha256": manifest.tokenizer.sha256,
    }
    found = _decoded(footer)
    _require(found == expected, path, f"footer says {found}, not {expected}")


def _decoded(metadata: dict[bytes, bytes]) -> dict[str, str]:
    """Return metadata as text; what is not UTF-8 is nothing that the format says."""
    pairs = metadata.items()
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in pairs}


def _verify_batch(
    path: Path, batch: pa.RecordBatch, metadata: dict[bytes, bytes], manifest: CorpusManifest
) -> npt.NDArray[np.int64]:
    """Check the tokens of one batch and return the documents' lengths."""
    _require(batch.num_rows > 0, path, "a batch has no rows")
    _require(
        all(batch.column(name).null_count == 0 for name in batch.schema.names),
        path,
        "a value is missing",
    )
    column = batch.column("tokens")
    offsets = column.offsets.to_numpy()
    tokens = column.values.to_numpy()[offsets[0] : offsets[-1]]
    lengths: npt.NDArray[np.int64] = np.diff(offsets).astype(np.int64)
    expected = batch_metadata(batch.column("source_id").to_numpy(), tokens)
    found = _decoded(metadata)
    _require(found == expected, path, f"batch metadata says {found}, not {expected}")
    _require(bool(lengths.min() >= 1), path, "a document is empty")
    _require(
        int(tokens.max()) < manifest.tokenizer.vocab_size,
        path,
        f"token id {tokens.max()} is not below the vocabulary size",
    )
    last = tokens[offsets[1:] - offsets[0] - 1]
    _require(
        bool(np.all(last == manifest.tokenizer.eos_id)),
        path,
        "a document does not end with the end token",
    )
    return lengths


def _verify_sources(
    root: Path,
    manifest: CorpusManifest,
    records: dict[str, FileRecord],
    document_ids: npt.NDArray[np.uint64],
    lengths: npt.NDArray[np.int64],
) -> None:
    record = _listed(root, records, SOURCES_FILE)
    path = root / SOURCES_FILE
    try:
        table = pq.read_table(path)
        table.validate(full=True)
    except _ARROW_ERRORS as error:
        raise IntegrityError(f"{path}: not readable as Parquet: {error}") from error
    _require(table.schema.equals(SOURCES_SCHEMA), path, "schema differs from the format")
    found = table.column("source_id").to_numpy()
    ids, inverse, counts = np.unique(document_ids, return_inverse=True, return_counts=True)
    tokens = np.zeros(len(ids), dtype=np.int64)
    np.add.at(tokens, inverse, lengths)
    buckets = buckets_of(ids, router_seed=manifest.router_seed)
    _require(
        np.array_equal(found, ids) and len(ids) == manifest.num_sources == record.num_rows,
        path,
        "its ids are not those of the documents in ascending order",
    )
    for name, expected in (
        ("bucket", buckets),
        ("num_documents", counts),
        ("num_tokens", tokens),
    ):
        column = table.column(name).to_numpy()
        _require(np.array_equal(column, expected), path, f"column {name} is wrong")
    for source_id, key in zip(ids.tolist(), table.column("source_key").to_pylist(), strict=True):
        _require(
            source_id_of(manifest.corpus, key) == source_id,
            path,
            f"source key {key!r} does not hash to its id {source_id}",
        )
    for aliases in table.column("aliases").to_pylist():
        _require(aliases == sorted(set(aliases)), path, f"aliases are not sorted: {aliases[:5]}")


def _verify_duplicates(
    root: Path,
    manifest: CorpusManifest,
    source_ids: npt.NDArray[np.uint64],
    doc_indices: npt.NDArray[np.uint32],
) -> None:
    """Check the pairs of near-duplicates, where the corpus has them."""
    found = open_duplicates(root, manifest)
    if found is None:
        return
    path, table = root / DUPLICATES_FILE, found.table
    is_paired = np.isin(source_ids, found.source_ids)
    documents = np.rec.fromarrays([source_ids[is_paired], doc_indices[is_paired]])
    for side in "ab":
        ids = table[f"source_id_{side}"].to_numpy()
        keys = table[f"source_key_{side}"].to_pylist()
        expected = [source_id_of(manifest.corpus, key) for key in keys]
        _require(ids.tolist() == expected, path, "a source key does not hash to its id")
        if found.policy is Policy.REPORT:
            pairs = np.rec.fromarrays([ids, table[f"doc_index_{side}"].to_numpy()])
            _require(bool(np.isin(pairs, documents).all()), path, "a document is not in the corpus")
