"""Write a corpus without some documents, and verify what was written.

The input is never touched. Partitions that lose a document are written anew, as a build without
these documents writes them; all others are hard-linked.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from nulls_dist.data.corpus import Corpus
from nulls_dist.data.duplicates import DuplicateTable, Policy, write_duplicates
from nulls_dist.data.format import (
    DUPLICATES_FILE,
    FACTS_FILE,
    MANIFEST_FILE,
    SOURCES_FILE,
    SOURCES_SCHEMA,
    partition_file,
)
from nulls_dist.data.partition import PartitionDocuments, PartitionPlace, write_documents
from nulls_dist.data.source_table import SourceTable, number_sources, write_source_table
from nulls_dist.durable import (
    FileRecord,
    check_outside,
    find_file,
    link_or_copy,
    new_directory,
    record_file,
    sha256_file,
    write_json,
)
from nulls_dist.errors import IntegrityError
from nulls_dist.source_list import read_ids
from nulls_dist.unlearn.corpus_plan import CorpusPlan

logger = logging.getLogger(__name__)

_STRIPPED: Final = "stripped_documents"
"""What the manifest's `build` calls the number of documents that deletions took, all together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenCorpus:
    """What was written and verified."""

    root: Path
    """Where it appears."""
    manifest_sha256: str
    rewritten: tuple[str, ...]
    num_linked: int


@contextmanager
def stripped_corpus(plan: CorpusPlan, out: Path) -> Iterator[WrittenCorpus]:
    """Write a corpus without the documents that go; publish it when the block ends without error.

    Raises:
        InputError: `out` exists or lies inside the input.
        IntegrityError: the output does not verify.
        LockedError: another process is writing `out`.
    """
    check_outside(out, plan.corpus.root)
    with new_directory(out) as partial:
        yield _fill(plan, out, partial)


def _fill(plan: CorpusPlan, out: Path, partial: Path) -> WrittenCorpus:
    old = plan.corpus.manifest
    partitions = {partition_file(number): number for number in range(old.num_partitions)}
    records: list[FileRecord] = []
    rewritten: list[str] = []
    for record in tqdm(old.files, desc="strip corpus", unit=" files", disable=None):
        (partial / record.path).parent.mkdir(parents=True, exist_ok=True)
        if record.path in partitions:
            new = _rewrite_partition(plan, partial, partitions[record.path])
        else:
            new = _rewrite_table(plan, partial, record.path)
        if new is None:
            link_or_copy(find_file(plan.corpus.root, record), partial / record.path)
        else:
            rewritten.append(record.path)
        records.append(new or record)
    manifest = replace(
        old,
        num_sources=len(plan.table) - int(np.isin(plan.table.source_ids, plan.gone).sum()),
        num_documents=int(plan.stays.sum()),
        num_tokens=int(plan.corpus.lengths[plan.stays].sum()),
        files=tuple(records),
        build=old.build | {_STRIPPED: old.build.get(_STRIPPED, 0) + int((~plan.stays).sum())},
    )
    write_json(partial / MANIFEST_FILE, manifest.to_dict())
    _check_written(plan, partial, rewritten)
    return WrittenCorpus(
        root=out,
        manifest_sha256=sha256_file(partial / MANIFEST_FILE),
        rewritten=tuple(rewritten),
        num_linked=len(records) - len(rewritten),
    )


def _rewrite_partition(plan: CorpusPlan, partial: Path, partition: int) -> FileRecord | None:
    """Write what stays of a partition; None where all of it does."""
    corpus, (kept, index) = plan.corpus, _left_in(plan, partition)
    if len(kept) == len(corpus.documents_in(partition)):
        return None
    documents = PartitionDocuments(
        source_ids=index["source_id"].to_numpy(),
        doc_indices=index["doc_index"].to_numpy(),
        rev_ids=index["rev_id"].to_numpy(),
        text_digests=index["text_digest"].combine_chunks(),
        lengths=corpus.lengths[kept],
        read_tokens=lambda rows: np.concatenate(list(map(corpus.tokens, kept[rows].tolist()))),
    )
    place = PartitionPlace(
        partition=partition,
        num_partitions=corpus.manifest.num_partitions,
        token_type=corpus.manifest.token_type,
        tokenizer_sha256=corpus.manifest.tokenizer.sha256,
    )
    path = partition_file(partition)
    write_documents(partial / path, documents, place)
    num_tokens = int(documents.lengths.sum())
    return record_file(partial, path, num_rows=len(kept), num_tokens=num_tokens)


def _left_in(plan: CorpusPlan, partition: int) -> tuple[npt.NDArray[np.int64], pa.Table]:
    """Return the numbers of a partition's documents that stay, and their columns but tokens."""
    documents = plan.corpus.documents_in(partition)
    stays = plan.stays[documents.start : documents.stop]
    index = _index_of(plan.corpus, documents).filter(pa.array(stays))
    return documents.start + np.flatnonzero(stays), index


def _index_of(corpus: Corpus, documents: range) -> pa.Table:
    """Return the columns of consecutive documents, their tokens left out, without copying."""
    return corpus.table().drop_columns(["tokens"]).slice(documents.start, len(documents))


def _rewrite_table(plan: CorpusPlan, partial: Path, name: str) -> FileRecord | None:
    """Write one of the tables without the sources that go; None where the file is another."""
    path = partial / name
    if name == SOURCES_FILE:
        sources = _sources_left(plan)
        write_source_table(path, sources)
        return record_file(partial, name, num_rows=len(sources))
    if name == DUPLICATES_FILE:
        pairs = _pairs_left(plan)
        write_duplicates(path, pairs)
        return record_file(partial, name, num_rows=len(pairs))
    if name == FACTS_FILE:
        facts = pq.read_table(plan.corpus.root / name)
        is_left = np.isin(facts["source_id"].to_numpy(), plan.gone, invert=True)
        pq.write_table(facts.filter(pa.array(is_left)), path, compression="zstd")
        return record_file(partial, name)
    return None


def _sources_left(plan: CorpusPlan) -> pa.Table:
    """Return the rows of the sources that stay, counted and numbered again."""
    corpus, stays = plan.corpus, plan.stays
    is_left = np.isin(plan.table.source_ids, plan.gone, invert=True)
    sources = plan.table.table.filter(pa.array(is_left))
    rows = np.searchsorted(plan.table.source_ids[is_left], corpus.source_ids[stays])
    tokens = np.zeros(len(sources), dtype=np.uint64)
    np.add.at(tokens, rows, corpus.lengths[stays].astype(np.uint64))
    documents = np.bincount(rows, minlength=len(sources)).astype(np.uint32)
    for name, values in (("num_documents", documents), ("num_tokens", tokens)):
        place = SOURCES_SCHEMA.get_field_index(name)
        sources = sources.set_column(place, SOURCES_SCHEMA.field(name), pa.array(values))
    # Parquet names the items of lists otherwise; equal rows shall give equal bytes.
    return number_sources(sources).cast(SOURCES_SCHEMA).combine_chunks()


def _pairs_left(plan: CorpusPlan) -> pa.Table:
    """Return the near-duplicates that stay; a record of former sources loses those that go."""
    pairs = DuplicateTable(plan.corpus.root / DUPLICATES_FILE)
    is_gone = pa.array(np.isin(plan.table.source_ids, plan.gone))
    names = plan.table.table.filter(is_gone)["aliases"].combine_chunks().flatten()
    former = np.array(read_ids(names.to_pylist()), dtype=np.uint64)
    documents = np.empty((0, 2), np.uint64)
    if pairs.policy is Policy.REPORT:
        columns = (plan.corpus.source_ids, plan.corpus.doc_indices.astype(np.uint64))
        documents = np.stack([column[~plan.stays] for column in columns], axis=1)
    return pairs.without(np.union1d(plan.gone, former), documents)


def _check_written(plan: CorpusPlan, partial: Path, rewritten: list[str]) -> None:
    """Read back what was written and compare it with what stays of the input.

    Raises:
        IntegrityError: it differs.
    """
    old, new = plan.corpus, Corpus(partial)
    for partition in range(old.manifest.num_partitions):
        path = partition_file(partition)
        if path not in rewritten:
            continue
        kept, index = _left_in(plan, partition)
        written = new.documents_in(partition)
        is_same = _index_of(new, written).equals(index) and all(
            np.array_equal(old.tokens(before), new.tokens(after))
            for before, after in zip(kept.tolist(), written, strict=True)
        )
        if not is_same:
            raise IntegrityError(f"{partial / path}: not the documents that stay; try again")
        logger.info("rewrote and verified %s", path)
    table = SourceTable(partial / SOURCES_FILE)
    if not np.array_equal(table.source_ids, np.unique(new.source_ids)):
        raise IntegrityError(f"{partial / SOURCES_FILE}: not the sources that stay; try again")
