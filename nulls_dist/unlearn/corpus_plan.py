"""What a deletion would do to a corpus, decided before anything is written.

The documents of every source with a tombstone go, and so do documents of other sources with exactly
one of their texts. A source that has no document left goes with them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from nulls_dist.checkpoint.format import CheckpointManifest, Tombstone
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import CorpusManifest
from nulls_dist.data.source_table import SourceTable, open_source_table
from nulls_dist.durable import check_file
from nulls_dist.errors import InputError
from nulls_dist.hashing import U64Array
from nulls_dist.unlearn.tombstones import has_text_of


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyHolder:
    """A source that was not deleted and held exactly a text of one that was."""

    source_id: int
    title: str
    num_documents: int
    """Documents that go."""
    num_left: int
    """Documents that stay; without any the source goes too."""


@dataclass(frozen=True, kw_only=True)
class CorpusPlan:
    """What a deletion would do to a corpus of D documents."""

    corpus: Corpus
    table: SourceTable
    """Its sources."""
    stays: npt.NDArray[np.bool_]
    """(D,) whether a document stays."""
    num_documents: int
    """Documents of deleted sources, which go."""
    num_sources: int
    """Deleted sources that had a document."""
    gone: U64Array
    """Sources of which nothing may be left: those deleted, and those without a document."""
    holders: tuple[CopyHolder, ...]
    """Sources whose copies go as well, ascending by id."""
    text_digests: dict[int, tuple[str, ...]]
    """Deleted source -> digests of its documents, as `Tombstone` has them."""

    @property
    def num_copies(self) -> int:
        """Documents of other sources, which go."""
        return sum(holder.num_documents for holder in self.holders)


def plan_corpus(
    root: Path, checkpoint: CheckpointManifest, tombstones: Iterable[Tombstone]
) -> CorpusPlan:
    """Decide what becomes of a corpus; compares every file with its checksum.

    Args:
        root: directory of the corpus.
        checkpoint: the one that is deleted from.
        tombstones: of the output, those of earlier deletions included.

    Raises:
        InputError: `root` is no corpus, is another one than the checkpoint's, or would be left
            without a document.
        IntegrityError: it is damaged.
    """
    corpus = Corpus(root)
    _check_same_sources(root, corpus.manifest, checkpoint)
    for record in tqdm(corpus.manifest.files, desc="verify corpus", unit=" files", disable=None):
        check_file(root, record)
    deleted = {entry.source_id: entry for entry in tombstones}
    ids = np.array(list(deleted), dtype=np.uint64)
    is_deleted = np.isin(corpus.source_ids, ids)
    digests = _digests_of(corpus, np.flatnonzero(is_deleted))
    known = {digest for entry in deleted.values() for digest in entry.text_digests}
    known.update(*digests.values())
    is_copy = has_text_of(corpus, map(bytes.fromhex, known)) & ~is_deleted
    stays = ~(is_deleted | is_copy)
    if not stays.any():
        raise InputError(
            f"corpus {root}: no document would be left, and a corpus holds at least one; remove "
            "it instead, and leave --corpus out"
        )
    table = open_source_table(root, corpus.manifest)
    return CorpusPlan(
        corpus=corpus,
        table=table,
        stays=stays,
        num_documents=int(is_deleted.sum()),
        num_sources=len(digests),
        gone=np.union1d(ids, np.setdiff1d(table.source_ids, corpus.source_ids[stays])),
        holders=_count_holders(corpus, table, is_copy),
        text_digests=digests,
    )


def bind_texts(
    tombstones: Iterable[Tombstone], text_digests: dict[int, tuple[str, ...]]
) -> tuple[Tombstone, ...]:
    """Return tombstones that also name the digests of their sources' texts."""
    return tuple(
        replace(entry, text_digests=tuple(sorted({*entry.text_digests, *found})))
        for entry in tombstones
        for found in [text_digests.get(entry.source_id, ())]
    )


def _check_same_sources(
    root: Path, manifest: CorpusManifest, checkpoint: CheckpointManifest
) -> None:
    """Refuse a corpus whose source ids mean other sources than the checkpoint's."""
    for name, value in (("corpus", manifest.corpus), ("router_seed", manifest.router_seed)):
        if checkpoint.corpus.get(name) != value:
            raise InputError(
                f"--corpus {root}: {name} ({value}) differs from the checkpoint's "
                f"({checkpoint.corpus.get(name)}), so its source ids are others; name a corpus "
                "that the model was trained on, or another build of it"
            )


def _digests_of(corpus: Corpus, documents: npt.NDArray[np.int64]) -> dict[int, tuple[str, ...]]:
    """Return the digests of some documents by source, each once, ascending."""
    digests = corpus.table()["text_digest"].take(documents).to_pylist()
    found: dict[int, set[str]] = {}
    for source_id, digest in zip(corpus.source_ids[documents].tolist(), digests, strict=True):
        found.setdefault(source_id, set()).add(digest.hex())
    return {source_id: tuple(sorted(values)) for source_id, values in found.items()}


def _count_holders(
    corpus: Corpus, table: SourceTable, is_copy: npt.NDArray[np.bool_]
) -> tuple[CopyHolder, ...]:
    ids, counts = np.unique(corpus.source_ids[is_copy], return_counts=True)
    return tuple(
        CopyHolder(
            source_id=source_id,
            title=table.title_of(source_id),
            num_documents=count,
            num_left=len(corpus.documents_of(source_id)) - count,
        )
        for source_id, count in zip(ids.tolist(), counts.tolist(), strict=True)
    )
